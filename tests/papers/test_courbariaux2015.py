"""ResNet-20 in one bit and in three levels: the committed files are what the committed records say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tersenet
from tersenet.forms import Binary, Ternary, Uniform
from tersenet.recipes import load_recipe
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

PAPERS = Path(__file__).parents[2] / "papers"
RUNS = {"courbariaux2015_binaryconnect": ("binary", Binary), "li2016_ternary_weight_networks": ("ternary", Ternary)}


def _expected(paper):
    path = PAPERS / paper / "expected.json"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize("paper", RUNS)
def test_every_layer_between_the_first_and_the_last_is_in_the_form_and_those_two_in_8_bits(paper):
    name, kind = RUNS[paper]
    recipe = load_recipe(PAPERS / paper / "recipes" / f"{name}.yaml")
    assert recipe.steps[0].form == name and recipe.steps[0].learns_latently
    network = tersenet.load(PAPERS / paper / "files" / f"{name}.terse")
    kinds = [type(network.form(layer.weight)) for layer in network.weighted_layers()]
    assert kinds == [Uniform, *[kind] * (len(kinds) - 2), Uniform]


@pytest.mark.parametrize("paper", RUNS)
def test_each_committed_file_has_the_committed_size_and_accuracy(paper, data_dir):
    name, _ = RUNS[paper]
    expected = _expected(paper)[name]
    path = PAPERS / paper / "files" / f"{name}.terse"
    assert path.stat().st_size == expected["file_bytes"]
    entry = ENTRIES["resnet20"]
    test = load(entry.data, data_dir=data_dir, preprocess=entry.preprocess, parts=("test",)).test
    torch.manual_seed(0)
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    got = 100 * evaluate(tersenet.load(path), test).accuracy
    assert got == pytest.approx(expected["test_accuracy_after"], abs=0.05)
