"""The record of Hinton's experiment on MNIST holds what its claims ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "hinton2015_distilling"
EXPECTED = json.loads((PAPER / "expected.json").read_text()) if (PAPER / "expected.json").exists() else {}


@pytest.mark.parametrize("key", EXPECTED)
def test_the_taught_network_errs_less_and_knows_the_digit_it_never_saw(key):
    run = EXPECTED[key]
    wrong, without = run["test_errors"], run["without_threes"]["taught"]
    assert wrong["large"] < wrong["small taught"] < wrong["small alone"]
    assert without["threes_known_corrected"] > 0.9 * without["threes"]
