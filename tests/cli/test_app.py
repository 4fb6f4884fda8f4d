"""Every command explains itself without torch; options that are wrong end in code 2."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import tersenet as package
from tersenet.cli.app import COMMANDS

# Everything that is slow to import and that no help needs.
HEAVY = ("torch", "pydantic", "rich", "sklearn", "safetensors", "numpy")
HELP = f"""
import sys
from tersenet.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code in (0, None), end.code
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS), ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(in_python, words):
    shown = in_python(HELP, *words)
    assert shown.code == 0, shown.err
    assert shown.err == ""
    assert shown.out.startswith("tersenet ") if words == ["--version"] else "Usage: tersenet" in shown.out


def test_the_list_names_every_command(tersenet):
    shown = tersenet("--help")
    for name, (_, line) in COMMANDS.items():
        assert any(row.split()[:1] == [name] and line[:20] in row for row in shown.out.splitlines()), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(tersenet, name):
    shown = tersenet(name, "--help")
    assert shown.code == 0
    for option in ("--json", "--seed", "--quiet", "--debug"):
        assert option in shown.out


def test_the_version_is_the_package_s(tersenet):
    assert tersenet("--version").out == f"tersenet {package.__version__}\n"


def test_the_package_is_a_command_too():
    words = [sys.executable, "-m", "tersenet", "--version"]
    assert subprocess.run(words, capture_output=True, text=True).stdout == f"tersenet {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["shrink"], "shrink"),
        (["inspect", "--colour"], "--colour"),
        (["inspect"], "FILE.terse"),
        (["compress", "linear", "--recipe", "dense"], "--output"),
        (["compress", "linear", "-o", "x.terse"], "--recipe"),
        (["unpack", "x.terse"], "--output"),
        (["train", "linear", "--data", "digits28"], "--output"),
        (["train", "linear", "-o", "w.safetensors"], "--data"),
        (["train", "linear", "--data", "digits28", "-o", "w.safetensors", "--epochs", "few"], "--epochs"),
        (["train", "linear", "--data", "digits28", "-o", "w.safetensors", "--seed", "-1"], "--seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_words_are_a_usage_error_that_names_them(tersenet, words, named):
    ended = tersenet(*words)
    assert ended.code == 2
    assert named in ended.err and "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "linear", "--data", "digits28", "-o", "w.pt"], "end the name so"),
        (["train", "x.terse", "--data", "digits28", "-o", "w.safetensors"], "is a compressed network"),
        (["unpack", "x.terse", "-o", "w.pt"], "end the name so"),
        (["compress", "linear", "--recipe", "dense", "-o", "x.bin"], "end it with .terse"),
        (["import", "x.net", "--net", "linear", "-o", "x.bin"], "end it with .terse"),
        (["compress", "linear", "--recipe", "han2016", "-o", "x.terse"], "recipe han2016 trains; give --data"),
        (["compress", "linear", "--recipe", "share-code", "-o", "x.terse"], "has no trained weights"),
        (["compress", "x.terse", "--weights", "w", "--recipe", "dense", "-o", "x.terse"], "holds its own weights"),
        (["evaluate", "linear", "--data", "digits28"], "has no trained weights"),
        (["evaluate", "linear", "--data", "digits28", "--split", "tset"], "--split tset: the parts"),
        (["compress", "linear", "--recipe", "dense", "-o", "x.terse", "--max-drop", "nan"], "--max-drop nan"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_words_that_do_not_go_together_are_a_usage_error(tersenet, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in tersenet(*words).refused(code=2)
    assert not list(tmp_path.iterdir())


def test_without_a_word_the_list_is_shown(tersenet):
    assert "compress" in (shown := tersenet()).out + shown.err


def test_an_error_with_json_is_one_object_too(tersenet, tmp_path):
    ended = tersenet("inspect", tmp_path / "none.terse", "--json")
    assert ended.code == 3
    assert json.loads(ended.out) == {"error": ended.record["error"], "code": 3}
    assert ended.record["error"] in ended.err


def test_debug_shows_where_an_error_came_from(tersenet, tmp_path):
    ended = tersenet("inspect", tmp_path / "none.terse", "--debug")
    assert ended.code == 3 and "Traceback" in ended.err


def test_a_fault_of_ours_is_shown_whole(tersenet, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("tersenet.container.read_file", fail)
    ended = tersenet("inspect", tmp_path / "x.terse")
    assert ended.code == 70
    assert "Traceback" in ended.err and ended.err.endswith("unexpected ZeroDivisionError: a fault\n")


def test_a_missing_package_is_named_with_the_command_that_brings_it(tersenet, shelf, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    said = tersenet("unpack", shelf.terse, "-o", tmp_path / "w.safetensors").refused(code=2)
    assert "the package 'safetensors'" in said and "pip install 'tersenet[torch]'" in said


def test_a_reader_that_leaves_is_no_error(in_python, shelf):
    # The reading end is closed before anything is written.
    closed = "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(r)"
    ended = in_python(f"{closed}; from tersenet.cli import main; main(sys.argv[1:])", "inspect", shelf.terse)
    assert ended.code == 0 and ended.err == ""
