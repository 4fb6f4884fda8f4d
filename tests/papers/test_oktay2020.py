"""The smallest files: each committed one loads, has the committed length, and errs as often as the record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tersenet
from tersenet.forms._grid import Grid
from tersenet.recipes import load_recipe
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

FOLDER = Path(__file__).parents[2] / "papers" / "oktay2020_entropy_penalised"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("path", sorted((FOLDER / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_one_and_only_the_best_recipes_have_a_teacher(path):
    recipe = load_recipe(path)
    taught = any(step.teacher is not None for step in recipe.steps)
    moved = any(step.train is not None and step.train.augment != "none" for step in recipe.steps)
    assert not (path.stem.endswith("_plain") and (taught or moved))


@pytest.mark.parametrize("name", EXPECTED)
def test_each_committed_file_has_the_committed_length_and_error(name, data_dir):
    expected, path = EXPECTED[name]["0"], FOLDER / "files" / f"{name}.terse"
    assert path.stat().st_size == expected["file_bytes"]
    network = tersenet.load(path)
    assert all(isinstance(form, Grid) for form in network.forms().values())
    entry = ENTRIES[next(one for one in ENTRIES if name.startswith(f"{one}_"))]
    torch.manual_seed(0)
    test = load(entry.data, data_dir=data_dir, preprocess=entry.preprocess, parts=("test",)).test
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert 100 * (1 - evaluate(network, test).accuracy) == pytest.approx(expected["test_error_after"], abs=0.05)
