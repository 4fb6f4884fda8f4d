"""Starts of centroids: the table is that of the runs, and what needs no training is found again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "han2016_deep_compression"
RESULTS = json.loads((PAPER / "centroids.json").read_text())


def _script():
    spec = importlib.util.spec_from_file_location("han2016_centroids", PAPER / "centroids.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", RESULTS)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_optimum_has_the_least_squared_error_of_all_starts(seed, bits):
    found = {start: RESULTS[seed][f"{start}-{bits}"]["squared_error"] for start in _script().STARTS}
    assert min(found, key=found.get) == "optimum"


def test_the_table_holds_the_errors_of_the_runs():
    script = _script()
    text = (PAPER / "centroids.md").read_text()
    before, after = (script.means(RESULTS, f"test_error_{when}") for when in ("before", "after"))
    assert all(f"{before[name]:.2f} -> {after[name]:.2f}" in text for name in before)


def test_sharing_without_training_is_found_again(data_dir, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    script = _script()
    pruned, data = script.pruned_network()
    shared = script.sharing(pruned, 3, "linear", 0)
    want = RESULTS["0"]["linear-3"]
    assert script.squared_error(shared, pruned) == pytest.approx(want["squared_error"], rel=1e-3)
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert script.error(shared, data.test) == pytest.approx(want["test_error_before"], abs=0.05)
