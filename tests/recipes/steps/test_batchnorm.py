"""BatchNorm is estimated from inputs moved as those that the network trains on."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.recipes.recipe import Recipe
from tersenet.recipes.steps.base import Situation, Step


class Bright:
    """Pictures that are 3 everywhere, black being -1: their mean says how much of the border came in."""

    black = torch.full((2, 1, 1), -1.0)

    def __len__(self) -> int:
        return 64

    def batch(self, indices):
        return torch.full((len(indices), 2, 8, 8), 3.0), torch.zeros(len(indices), dtype=torch.int64)


def network() -> Network:
    model = nn.Sequential(
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(4, 4, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 2),
    )
    return capture(model.eval(), torch.zeros(2, 2, 8, 8))


def step(**fields: object) -> Step:
    return Recipe.model_validate({"name": "one", "steps": [fields]}).steps[0]


def mean_seen(one: Step, data: object = None) -> float:
    """What the first BatchNorm has for a mean after the step's change."""
    at = Situation(
        stage=0,
        seed=0,
        train=data or Bright(),
        validate=None,
        quality=lambda net: 0.0,
        earlier=lambda number: network(),
    )
    return float(one.change(network(), at)[0].dense("0.running_mean")[0])


TRAIN = {"epochs": 1, "augment": "flip_crop"}
STEPS = [
    {"id": "batchnorm"},
    {"id": "channels", "keep": 0.5},
    {"id": "apoz", "keep": 0.5},
    {"id": "layers", "remove": 1},
]


@pytest.mark.parametrize("fields", STEPS, ids=lambda one: one["id"])
def test_inputs_move_as_the_training_of_the_step_moves_them_unless_it_says_otherwise(fields):
    assert mean_seen(step(**fields)) == 3
    trained = mean_seen(step(**fields, train=TRAIN))
    assert 1 < trained < 2.5
    assert mean_seen(step(**fields, augment="flip_crop")) == trained
    assert mean_seen(step(**fields, augment="none", train=TRAIN)) == 3
    assert trained < mean_seen(step(**fields, augment="flip_crop", augment_pixels=1)) < 3
    assert trained < mean_seen(step(**fields, train=TRAIN | {"augment_pixels": 1})) < 3
    assert mean_seen(step(**fields, augment="shift", train=TRAIN)) == 3


def test_the_last_training_decides_after_the_last_iteration():
    both = {"id": "channels", "keep": 0.5, "train": {"epochs": 1}, "last_train": TRAIN}
    assert mean_seen(step(**both)) < 3
    assert mean_seen(step(**both, iterations=2)) == 3


@pytest.mark.parametrize("fields", STEPS, ids=lambda one: one["id"])
def test_how_far_without_how_is_refused(fields):
    for how in ({}, {"augment": "none"}, {"train": TRAIN}):
        with pytest.raises(ValidationError, match="augment_pixels is given but augment is not"):
            step(**fields, augment_pixels=2, **how)
    with pytest.raises(ValidationError, match="flip_crop"):
        step(**fields, augment="twirl")


def test_inputs_that_cannot_move_are_refused_and_nothing_changes():
    net = network()
    loader = [(torch.ones(4, 2, 8, 8), torch.zeros(4))]
    at = Situation(stage=0, seed=0, train=loader, validate=None, quality=lambda net: 0.0, earlier=lambda number: net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(TersenetError, match="let your loader augment"):
        step(id="batchnorm", augment="shift").change(net, at)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
