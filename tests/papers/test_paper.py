"""The frame of every run.py: what is recorded stays beside what was there, and a wrong name is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

PAPERS = Path(__file__).parents[2] / "papers"


def _frame():
    spec = importlib.util.spec_from_file_location("paper_frame", PAPERS / "paper.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FRAME = _frame()


@pytest.fixture
def paper(tmp_path):
    (tmp_path / "smith1999").mkdir()
    return FRAME.Paper(str(tmp_path / "smith1999" / "run.py"), "What it is.\n\nMore.\n")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_what_is_recorded_has_its_command_and_stays_beside_other_names_and_seeds(paper, tmp_path, threads):
    threads(1)
    paper.record("b", {"x": 1})
    paper.record("a", {"x": 2}, 0)
    paper.record("a", {"x": 3, "machine": "another"}, 2)
    threads(2)
    paper.record("b", {"x": 4})
    found = json.loads((tmp_path / "smith1999" / "expected.json").read_text())
    assert found == paper.expected() and list(found) == ["b", "a"]
    assert [found["b"]["x"], found["a"]["0"]["x"], found["a"]["2"]["x"]] == [4, 2, 3]
    assert found["b"]["command"] == "python papers/smith1999/run.py b --threads 2"
    assert found["a"]["0"]["command"] == "python papers/smith1999/run.py a"
    assert found["a"]["2"]["command"] == "python papers/smith1999/run.py a --seeds 3"
    assert found["b"]["machine"].endswith("2 threads") and found["a"]["2"]["machine"] == "another"


def test_all_names_run_unless_some_are_given_and_an_unknown_one_is_refused(paper, tmp_path, threads, capsys):
    threads(2)
    work = str(tmp_path / "deep" / "work")
    found = paper.arguments({"a": 1, "b": 2}, given=["--work", work])
    assert found.names == ["a", "b"] and found.work.is_dir() and torch.get_num_threads() == 1
    assert paper.arguments(["a", "b"], seeds=True, given=["b", "--work", work, "--seeds", "3"]).seeds == 3
    for given, sentence in ((["c"], "unknown c; there are a, b"), (["--seeds", "2"], "unrecognized")):
        with pytest.raises(SystemExit):
            paper.arguments(["a", "b"], given=given)
        assert sentence in capsys.readouterr().err


def test_weights_are_looked_for_only_where_a_folder_is_named(monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", "")
    with pytest.raises(SystemExit, match="TERSENET_DATA is unset"):
        FRAME.published("lenet5", "models/x.safetensors")
