"""What the tables of Ba and Caruana 2014 say follows from the committed runs, which are of equal networks."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tersenet.zoo import network

PAPER = Path(__file__).parents[2] / "papers" / "ba2014_do_deep_nets"
RECORD = PAPER / "expected.json"
STUDENTS = json.loads(RECORD.read_text())["students"] if RECORD.exists() else {}
SPEC = importlib.util.spec_from_file_location("ba2014_run", PAPER / "run.py")
RUN = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = RUN  # its dataclass looks there
SPEC.loader.exec_module(RUN)


@pytest.mark.parametrize("name", STUDENTS)
def test_each_student_has_the_parameters_of_the_budget(name):
    student = RUN.STUDENTS[name]
    model = network("shallow_mnist", parameters=student.parameters, bottleneck=student.bottleneck)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 0.99 * student.parameters <= count <= student.parameters
    assert {run["parameters"] for run in STUDENTS[name].values()} == {count}


@pytest.mark.skipif(not RECORD.exists(), reason="no run is recorded yet")
def test_the_committed_table_and_curves_are_those_of_the_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(RUN, "HERE", tmp_path)
    RUN.write_results()
    for name in ("table.md", "curves.svg"):
        assert (tmp_path / name).read_text() == (PAPER / name).read_text()
