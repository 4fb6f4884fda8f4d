"""What makes one run another run is seen."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.recipes.fingerprint import add_data, add_network, check_finite


def network() -> Network:
    torch.manual_seed(0)
    return capture(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval(), torch.zeros(2, 3))


def digest(of, add) -> str:
    found = hashlib.sha256()
    add(found, of)
    return found.hexdigest()


def test_one_bit_of_one_weight_makes_another_network():
    one, other = network(), network()
    assert digest(one, add_network) == digest(other, add_network)
    weight = other.dense("0.weight").clone()
    weight.view(torch.int32)[0, 0] ^= 1
    other.set_tensor("0.weight", weight)
    assert digest(one, add_network) != digest(other, add_network)


class Rows:
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return self.x[indices], self.x[indices]


def test_a_split_is_known_by_its_length_and_first_examples_a_loader_by_its_length():
    zeros = digest(Rows(torch.zeros(70)), add_data)
    assert zeros != digest(Rows(torch.zeros(71)), add_data)
    assert zeros != digest(Rows(torch.eye(70)[0]), add_data)
    assert digest([1, 2], add_data) == digest([3, 4], add_data) != digest([1], add_data)
    assert digest(iter(()), add_data) == digest(None, add_data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused_by_its_tensor(value):
    broken = network()
    check_finite(broken)
    bias = broken.dense("2.bias").clone()
    bias[1] = value
    broken.set_tensor("2.bias", bias)
    with pytest.raises(TersenetError, match="tensor '2.bias' holds 1 NaN or infinite"):
        check_finite(broken)
