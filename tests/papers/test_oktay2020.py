"""The smallest files: each committed one loads, has the committed length, and errs as often as the record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tersenet
from tersenet.forms import Dct
from tersenet.forms._order import one_step
from tersenet.recipes import load_recipe
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
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
    found = tersenet.load(path)
    held = (form.coefficients if isinstance(form, Dct) else form for form in found.forms().values())
    assert all(one_step(form) is not None for form in held)
    entry = ENTRIES[expected["network"]]
    torch.manual_seed(0)
    test = load(entry.data, data_dir=data_dir, preprocess=entry.preprocess, parts=("test",)).test
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert 100 * (1 - evaluate(found, test).accuracy) == pytest.approx(expected["test_error_after"], abs=0.05)


class _Coloured:
    """Pictures of the size of CIFAR-10's, each class of one colour."""

    def __init__(self) -> None:
        self.y = torch.arange(40) % 10
        noise = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        self.x = noise + torch.randn(10, 3, 1, 1, generator=torch.Generator().manual_seed(1))[self.y]

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


def test_the_recipe_for_a_vgg_runs_for_one_epoch_a_step(tmp_path):
    recipe = load_recipe(FOLDER / "recipes" / "vgg16_cifar.yaml")
    short = [
        step.model_copy(update={"train": step.train.model_copy(update={"epochs": 1, "batch_size": 20})})
        if step.train is not None
        else step
        for step in recipe.steps
    ]
    torch.manual_seed(0)
    result = tersenet.compress(
        network("vgg16_cifar"),
        recipe=recipe.model_copy(update={"steps": tuple(short)}),
        train=_Coloured(),
        run_dir=tmp_path,
        provenance=False,
    )
    assert result.file_bytes < result.record.original_bytes / 4
    forms = result.network.forms()
    assert all(one_step(form) is not None for form in forms.values())
    assert {layer.weight for layer in result.network.weighted_layers()} <= set(forms)
    assert result.network.eval()(_Coloured().x[:2]).isfinite().all()
