"""Patterns name layers; what names none is refused with the nearest names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.select import select_layers, setting


@pytest.fixture(scope="module")
def net():
    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(1, 2, 3))
    model.add_module("conv2", nn.Conv2d(2, 2, 3))
    model.add_module("flat", nn.Flatten())
    model.add_module("fc1", nn.Linear(32, 5))
    model.add_module("fc2", nn.Linear(5, 3))
    return capture(model, torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("*", ["conv1", "conv2", "fc1", "fc2"]),
        ("fc*", ["fc1", "fc2"]),
        ("fc1.weight", ["fc1"]),
        ("op:conv*", ["conv1", "conv2"]),
        ("op:linear", ["fc1", "fc2"]),
        ("first, last", ["conv1", "fc2"]),
        ("conv2,fc2", ["conv2", "fc2"]),
    ],
)
def test_patterns_name_layers_by_name_operation_and_place(net, where, names):
    assert [layer.name for layer in select_layers(net, where)] == names


def test_a_pattern_that_names_nothing_is_refused_with_the_nearest_names(net):
    with pytest.raises(TersenetError, match=r"no layer matches 'cnv1'.*conv1"):
        select_layers(net, "cnv1")
    with pytest.raises(TersenetError, match=r"no layer matches 'f1'.*fc1"):
        select_layers(net, "conv*, f1")


def test_the_first_pattern_that_fits_gives_the_setting(net):
    layers = {layer.name: layer for layer in select_layers(net, "*")}
    table = {"last": 1, "op:conv*": 2, "*": 3}
    assert [setting(table, layers[name], net, "bits") for name in ("conv1", "fc1", "fc2")] == [2, 3, 1]
    assert setting(7, layers["fc1"], net, "bits") == 7
    with pytest.raises(TersenetError, match="bits names no value for layer 'fc1'"):
        setting({"conv*": 1}, layers["fc1"], net, "bits")
