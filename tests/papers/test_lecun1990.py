"""Optimal Brain Damage: what was found keeps accuracy longer than magnitude, and a part is found again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "lecun1990_optimal_brain_damage"
EXPECTED = json.loads((PAPER / "expected.json").read_text())


def _run():
    spec = importlib.util.spec_from_file_location("lecun1990_run", PAPER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("lost", ["5", "10"])
def test_damage_goes_further_than_magnitude_for_the_same_accuracy(name, lost):
    kept = {method: found[lost] for method, found in EXPECTED[name]["kept_percent_at_points_lost"].items()}
    assert kept["obd"] < min(kept["magnitude"], kept["magnitude_layer"])


@pytest.mark.parametrize("name", EXPECTED)
def test_shares_at_points_lost_are_those_of_the_curves(name):
    run, found = _run(), EXPECTED[name]
    for method, curve in found["accuracy_percent"].items():
        for lost, share in found["kept_percent_at_points_lost"][method].items():
            assert 100 * run.kept_at([one / 100 for one in curve], float(lost)) == pytest.approx(share, abs=0.02)


@pytest.mark.slow
def test_the_first_and_the_middle_of_the_curves_are_found_again(data_dir, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    run = _run()
    net, test, inputs = run.dense("lenet_300_100")
    for method in ("obd", "magnitude"):
        found = run.curve(net, method, inputs, test, run.KEEPS[:15])
        wanted = EXPECTED["lenet_300_100"]["accuracy_percent"][method][:15]
        # Near ties in the order of removal fall otherwise on another machine.
        assert [100 * one for one in found] == pytest.approx(wanted, abs=0.5)
