"""One-shot surgery: what was found is well above magnitude, and a part is found again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tersenet.training.evaluate import evaluate

PAPER = Path(__file__).parents[2] / "papers" / "frantar2022_optimal_brain_compression"
EXPECTED = json.loads((PAPER / "expected.json").read_text())


def _run():
    spec = importlib.util.spec_from_file_location("frantar2022_run", PAPER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ANEW = ("test", "test_batchnorm_anew", "test_batchnorm_moved")


def _best(rows: dict, *keys: str, by: tuple[str, ...] = ANEW) -> float:
    """The better of both ways to choose weights, BatchNorm as it is, or anew from plain or, where measured, from moved
    images."""
    return max(rows[key][one] for key in keys for one in by if one in rows[key])


@pytest.mark.parametrize("name", EXPECTED)
def test_every_baseline_is_measured_where_the_readme_compares(name):
    for keep in ("0.3", "0.2"):
        assert set(ANEW) <= set(EXPECTED[name]["rows"][f"magnitude {keep}"])


def test_at_70_percent_zeros_resnet20_is_5_points_above_magnitude_with_statistics_as_they_are_or_from_plain_images():
    rows = EXPECTED["resnet20"]["rows"]
    assert rows["obs 0.3"]["zeros_percent"] == pytest.approx(70, abs=0.01)
    assert rows["obs 0.3"]["test"] >= 5 + _best(rows, "magnitude 0.3", "magnitude 0.3 each", by=ANEW[:2])


def test_at_80_percent_zeros_resnet20_is_5_points_above_magnitude_with_any_statistics():
    rows = EXPECTED["resnet20"]["rows"]
    assert rows["obs 0.2"]["zeros_percent"] == pytest.approx(80, abs=0.01)
    assert rows["obs 0.2"]["test"] >= 5 + _best(rows, "magnitude 0.2", "magnitude 0.2 each")


@pytest.mark.parametrize("name", EXPECTED)
def test_statistics_of_moved_images_are_those_of_the_published_network_and_of_plain_ones_are_not(name):
    dense = EXPECTED[name]["rows"]["dense"]
    assert dense["test"] - dense["test_batchnorm_moved"] < 0.2 < 1 < dense["test"] - dense["test_batchnorm_anew"]


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("keep", ["0.5", "0.3", "0.2", "2:4"])
def test_surgery_is_above_the_best_that_magnitude_gives_within_minutes(name, keep):
    rows = EXPECTED[name]["rows"]
    magnitude = [key for key in (f"magnitude {keep}", f"magnitude {keep} each") if key in rows]
    assert rows[f"obs {keep}"]["test"] > _best(rows, *magnitude)
    assert rows[f"obs {keep}"]["seconds"] < 600


@pytest.mark.slow
def test_two_rows_are_found_again(data_dir, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    run = _run()
    net, test, plain, moved = run.dense("resnet20")
    row = run.Row(surgery=False, keep=0.3)
    found = run.scored(run.pruned(net, row, plain), plain, moved, test)
    for key, accuracy in found.items():
        assert accuracy == pytest.approx(EXPECTED["resnet20"]["rows"][row.key][key], abs=0.5)
    row = run.Row(surgery=True, keep=0.3)
    accuracy = 100 * evaluate(run.pruned(net, row, plain), test).accuracy
    assert accuracy == pytest.approx(EXPECTED["resnet20"]["rows"][row.key]["test"], abs=0.5)
