"""Stopped in the middle of training and started again, a command ends in the bytes of an undisturbed run.

And whenever Ctrl-C comes, it ends in one line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

RECIPE = """\
name: slow
steps:
  - {id: prune, keep: 0.3, train: {epochs: 2, batch_size: 32, optimiser: adam, lr: 0.001}}
  - {id: store, bits: 3, train: {epochs: 20, batch_size: 8, optimiser: sgd, lr: 0.01, momentum: 0.9}}
"""

# Ctrl-C is ignored in what a script starts in the background, and so by its children.
AS_IN_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tersenet.cli import main
main()
"""


@pytest.fixture(scope="module")
def words(shelf, tmp_path_factory):
    recipe = tmp_path_factory.mktemp("recipe") / "slow.yaml"
    recipe.write_text(RECIPE)
    return [
        "compress",
        "linear",
        "--weights",
        str(shelf.weights),
        "--data",
        "digits28",
        "--recipe",
        str(recipe),
        "--threads",
        "1",
        "--seed",
        "3",
    ]


@pytest.fixture(scope="module")
def undisturbed(tersenet, words, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "x.terse"
    assert tersenet(*words, "-o", output).code == 0
    return output.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_bytes(tersenet, words, undisturbed, tmp_path, number):
    output = tmp_path / "x.terse"
    process = subprocess.Popen(
        [sys.executable, "-c", AS_IN_A_TERMINAL, *words, "-o", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("share: epoch 3/20"):
            process.send_signal(number)
            break
    out, rest = process.communicate(timeout=120)
    assert out == "" and not output.exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert rest.endswith("tersenet: error: interrupted; the same command goes on from here\n")
        assert "Traceback" not in rest
    else:
        assert process.returncode == -signal.SIGKILL
    again = tersenet(*words, "-o", output)
    assert again.code == 0
    # A stage that was finished is not done again; nor, after Ctrl-C, an epoch.
    assert "share: epoch 12/20" in again.err and "prune: epoch" not in again.err
    assert number == signal.SIGKILL or "share: epoch 2/20" not in again.err
    assert output.read_bytes() == undisturbed


def _ctrl_c(*_, **__):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "place", ["tersenet.cli.app.make_app", "tersenet.cli.command.Session", "tersenet.container.decode"]
)
def test_ctrl_c_ends_in_one_line_before_and_in_a_command(tersenet, shelf, monkeypatch, place):
    """While modules are imported, while typer reads the words, while the command works."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(place, _ctrl_c)
    ended = tersenet("inspect", shelf.terse)
    assert (ended.code, ended.out, ended.err) == (130, "", "tersenet: error: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_an_import_turns_into_another_error_is_still_an_interruption(tersenet, shelf, tmp_path):
    """As numpy's extension modules do: "cannot load module more than once per process"."""
    code = tmp_path / "half.py"
    code.write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\n"
        "except BaseException:\n    raise ImportError('cannot load module')\n"
    )
    ended = tersenet("evaluate", f"{code}:net", "--data", "digits28")
    assert (ended.code, ended.err) == (130, "tersenet: error: interrupted\n")
