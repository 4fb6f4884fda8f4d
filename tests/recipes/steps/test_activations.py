"""The step that fixes ranges: one run of a recipe, whose file answers alike in torch and in the runtime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tersenet
import tersenet.runtime as runtime
from tersenet.errors import TersenetError
from tersenet.recipes import Recipe
from tersenet.zoo.data import load

STEPS = [
    {"id": "store", "form": "uniform", "bits": 8},
    {"id": "activations", "examples": 64, "percentile": 99.9, "train": {"epochs": 1, "lr": 0.01}},
]


def compressed(tmp_path, **more):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    recipe = Recipe.model_validate({"name": "integers", "steps": STEPS, "coder": "raw"})
    return tersenet.compress(model, recipe=recipe, run_dir=tmp_path / "run", **more)


def test_a_run_trains_with_rounded_inputs_and_its_file_answers_alike_everywhere(tmp_path):
    digits = load("digits")
    result = compressed(tmp_path, train=digits.train, validate=digits.validate)
    path = tmp_path / "x.terse"
    result.save(path)
    x = digits.validate.batch(torch.arange(50))[0]
    with torch.no_grad():
        truth = tersenet.load(path)(x).numpy()
    for activations in ("float32", "int8"):
        found = runtime.open(path, activations=activations)(x.numpy())
        assert np.abs(found - truth).max() <= 1e-4 * np.abs(truth).max()
    assert "activations" in result.record.recipe["steps"][1]["id"]


def test_without_training_data_it_says_what_it_needs(tmp_path):
    with pytest.raises(TersenetError, match="training data"):
        compressed(tmp_path, example=torch.zeros(2, 1, 8, 8))
