"""ResNet-56 with half of its multiply-adds: the committed file is what the committed record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tersenet
from tersenet.methods.channels import multiply_adds
from tersenet.recipes import load_recipe
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

PAPER = Path(__file__).parents[2] / "papers" / "fang2023_depgraph"
EXPECTED = json.loads((PAPER / "expected.json").read_text()) if (PAPER / "expected.json").exists() else {}
FILES = sorted(PAPER.glob("files/*.terse"))


def test_each_recipe_asks_for_less_than_the_claim_allows():
    recipes = [load_recipe(path) for path in PAPER.glob("recipes/*.yaml")]
    assert recipes and all(recipe.steps[0].flops < 0.5 for recipe in recipes)


def test_every_record_has_its_file():
    assert {path.stem for path in FILES} == set(EXPECTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_committed_file_has_the_committed_size_work_and_accuracy(path, data_dir):
    expected = EXPECTED[path.stem]
    network = tersenet.load(path)
    assert path.stat().st_size == expected["file_bytes"]
    assert multiply_adds(network) == expected["macs_after"] <= 0.5 * expected["macs_before"]
    entry = ENTRIES[path.stem]
    test = load(entry.data, data_dir=data_dir, preprocess=entry.preprocess, parts=("test",)).test
    torch.manual_seed(0)
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert 100 * evaluate(network, test).accuracy == pytest.approx(expected["test_accuracy_after"], abs=0.05)
