"""`tersenet compare`: a folder of files, a table and a picture; bad requests end in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tersenet.search import read_comparison

FEW = ("--forms", "codebook,prune", "--levels", "2")


@pytest.fixture(scope="module")
def own(shelf):
    return [f"{shelf.own}:network", "--data", f"{shelf.own}:loaders"]


def test_points_are_tabled_drawn_and_kept_as_files(tersenet, own, tmp_path):
    ended = tersenet("compare", *own, *FEW, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "* nothing else is smaller and as good" in ended.out and "points lost" in ended.out
    assert ET.parse(tmp_path / "out" / "compare.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "out" / "compare.md").read_text().count("\n") == 6
    assert len(list((tmp_path / "out" / "files").iterdir())) == 4
    record = tersenet("compare", *own, *FEW, "-o", tmp_path / "out", "--json").record
    assert len(record["points"]) == 4 and record["missing"] == 0


def test_a_budget_ends_the_work_with_a_count_and_the_same_command_goes_on(tersenet, own, tmp_path):
    ended = tersenet("compare", *own, *FEW, "-o", tmp_path, "--budget", 1e-9)
    assert ended.code == 0 and "the time was up: 0 of 4 points are there; the same command goes on" in ended.out
    assert not (tmp_path / "compare.svg").exists()
    assert tersenet("compare", *own, *FEW, "-o", tmp_path).code == 0
    assert len(read_comparison(tmp_path / "compare.json").points) == 4


def test_calibration_and_training_are_taken(tersenet, own, tmp_path):
    words = ["compare", *own, "--forms", "codebook", "--levels", 1, "--json"]
    fitted = tersenet(*words, "-o", tmp_path / "a", "--calibrate", 16).record
    assert fitted["points"][0]["steps"][0]["calibrate"] == 16
    learned = tersenet(*words, "-o", tmp_path / "b", "--train-epochs", 1, "--lr", 0.002, "--split", "test").record
    assert learned["points"][0]["steps"][0]["train"]["lr"] == 0.002


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--forms", "codebok"], 3, "form 'codebok' is not there; did you mean codebook"),
        (["--split", "middle"], 2, "the parts of a data set are"),
        (["--within", "0"], 2, "a number of points above 0"),
        (["--where", "nowhere"], 3, "no layer matches 'nowhere'"),
        (["--coder", "zip"], 3, "zip"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused_in_a_sentence(words, code, sentence, tersenet, own, tmp_path):
    assert sentence in tersenet("compare", *own, "-o", tmp_path, "--forms", "dense", *words).refused(code)


def test_a_network_with_nan_and_a_file_in_the_folder_s_place_are_refused(tersenet, shelf, own, tmp_path):
    bad = tersenet("compare", f"{shelf.own}:not_finite", "--data", f"{shelf.own}:loaders", "-o", tmp_path / "a")
    assert "NaN or infinite" in bad.refused()
    (tmp_path / "file").write_text("x")
    assert "no file can be written there" in tersenet("compare", *own, "-o", tmp_path / "file").refused()


IN_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from tersenet.cli import main
main()
"""


def test_ctrl_c_leaves_a_folder_from_which_the_same_command_goes_on(own, tmp_path):
    words = [sys.executable, "-c", IN_A_TERMINAL, "compare", *map(str, own), "--forms", "codebook,uniform,prune"]
    started = subprocess.Popen(
        [*words, "-o", str(tmp_path)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    while not (tmp_path / "files").exists() and started.poll() is None:
        pass
    started.send_signal(signal.SIGINT)
    _, said = started.communicate()
    if started.returncode != 0:  # it was not done before the signal came
        assert started.returncode == 130 and "the same command goes on from here" in said
    assert read_comparison(tmp_path / "compare.json").fingerprint
