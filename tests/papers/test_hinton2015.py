"""The record of Hinton's experiment on MNIST holds what its README claims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "hinton2015_distilling"
EXPECTED = json.loads((PAPER / "expected.json").read_text()) if (PAPER / "expected.json").exists() else {}


@pytest.mark.parametrize("key", EXPECTED)
def test_the_taught_network_knows_the_digit_it_never_saw(key):
    taught, alone = (EXPECTED[key]["without_threes"][name] for name in ("taught", "alone"))
    assert taught["threes_known"] > 0.9 * taught["threes"] > alone["threes_known_corrected"]
    assert taught["threes_known_corrected"] >= 0.98 * taught["threes"]


@pytest.mark.parametrize("key", EXPECTED)
@pytest.mark.parametrize("split", ["test_errors", "validation_errors"])
def test_the_taught_network_errs_less_than_alone_and_more_than_its_teacher(key, split):
    wrong = EXPECTED[key][split]
    assert wrong["large"] < wrong["small taught"] < wrong["small alone"]


@pytest.mark.parametrize("key", EXPECTED)
def test_the_temperature_is_the_best_on_the_validation_split(key):
    by_temperature = EXPECTED[key]["validation_errors_by_temperature"]
    assert by_temperature[f"{EXPECTED[key]['temperature']:g}"] == min(by_temperature.values())
