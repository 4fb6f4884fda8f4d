"""Layers and branches leave where the rest fits together; the result is the network in which they do nothing."""

import pytest
import torch
import torch.nn.functional as F
from structures import HARD, build
from torch import nn

from tersenet import ir, zoo
from tersenet.graph import bypass, bypasses, capture
from tersenet.graph.plan import make_plan


def names(network) -> list[str]:
    return [part.name for part in bypasses(network)]


def part_of(network, name: str):
    return next(part for part in bypasses(network) if part.name == name)


class Mixed(nn.Module):
    """A layer that keeps its shape, a branch with a projection, and a weight that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.same = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.branch = nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1))
        self.projection = nn.Conv2d(4, 8, 1, stride=2)
        self.shared, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.same(F.relu(self.stem(x)))
        x = F.relu(self.branch(x) + self.projection(x)).mean((2, 3))
        x = self.shared(F.relu(self.shared(x)))
        return self.head(x)


@pytest.fixture(scope="module")
def mixed():
    torch.manual_seed(0)
    return capture(Mixed(), torch.randn(2, 3, 6, 6)).eval()


def test_every_block_of_a_resnet_can_leave_and_its_ends_cannot():
    network = capture(zoo.network("resnet20"), torch.zeros(1, 3, 32, 32))
    found = bypasses(network)
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    assert [part.name for part in found if len(part.layers) == 2] == blocks
    assert not {"conv1", "linear"} & {layer for part in found for layer in part.layers}


def test_a_residual_branch_that_adds_zeros_can_leave_unheard():
    network = capture(zoo.network("resnet20"), torch.zeros(1, 3, 32, 32)).eval()
    for name in ("layer1.1", "layer2.0", "layer3.2"):
        silent = network.clone()
        for leaf in ("weight", "bias"):
            silent.set_tensor(f"{name}.bn2.{leaf}", torch.zeros_like(network.dense(f"{name}.bn2.{leaf}")))
        smaller = bypass(network, part_of(network, name))
        x = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(smaller(x), silent(x), rtol=1e-5, atol=1e-5)
            assert not torch.allclose(network(x), silent(x), atol=1e-3)
        assert not any(one.startswith(f"{name}.") for one in smaller.state_dict())
        assert ir.read(ir.write(smaller.graph)) == smaller.graph


def with_stand_in(network, part, inputs):
    """What the network answers where the part's value is its source's, computed by hand."""
    plan, graph = make_plan(network.graph), network.graph
    values = [*inputs, *[None] * (plan.slots - len(inputs))]
    for name, slot in plan.tensors.items():
        values[slot] = network.dense(name)
    for slot in plan.flags.values():
        values[slot] = False
    with torch.no_grad():
        for index, step in enumerate(plan.steps):
            step(values)
            if part.value in range(graph.first_value(index), graph.first_value(index + 1)):
                values[part.value] = values[part.source]
    return [values[one.number] for one in graph.outputs]


@pytest.mark.parametrize("name", [*HARD, "resnet20", "stories260k", "vww_mobilenet"])
def test_the_smaller_network_answers_as_the_one_with_the_stand_in(name):
    network, example = build(name)
    for part in bypasses(network)[:6]:
        smaller = bypass(network, part)
        assert not {f"{layer}.weight" for layer in part.layers} & set(smaller.graph.parameters)
        with torch.no_grad():
            answers = smaller(*example)
        for answer, expected in zip(
            answers if isinstance(answers, tuple) else [answers], with_stand_in(network, part, example)
        ):
            torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)


def test_the_law_is_asked_of_many_parts():
    assert sum(len(bypasses(build(name)[0])) for name in HARD) > 12


def test_the_parts_of_a_network_with_a_projection(mixed):
    assert names(mixed) == ["same.0", "projection", "branch"]


def test_a_layer_takes_the_normalisation_and_the_activation_behind_it_along(mixed):
    x = torch.randn(2, 3, 6, 6)
    smaller = bypass(mixed, part_of(mixed, "same.0"))
    assert not any(name.startswith("same") for name in smaller.state_dict())
    identity = mixed.clone()
    # What it reads has been through a ReLU, so that passing it on means an identity and a BatchNorm that does nothing.
    weight = torch.zeros(4, 4, 3, 3)
    weight[range(4), range(4), 1, 1] = 1
    identity.set_tensor("same.0.weight", weight)
    identity.set_tensor("same.0.bias", torch.zeros(4))
    identity.set_tensor("same.1.running_var", torch.ones(4) - 1e-5)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), identity(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "silent"), [("branch", "branch.2"), ("projection", "projection")])
def test_either_side_of_a_sum_can_leave(mixed, name, silent):
    x, twin = torch.randn(2, 3, 6, 6), mixed.clone()
    for leaf in ("weight", "bias"):
        twin.set_tensor(f"{silent}.{leaf}", torch.zeros_like(mixed.dense(f"{silent}.{leaf}")))
    with torch.no_grad():
        torch.testing.assert_close(bypass(mixed, part_of(mixed, name))(x), twin(x), rtol=1e-5, atol=1e-5)


def test_what_is_left_saves_trains_and_can_lose_more(mixed):
    smaller = bypass(mixed.train(), part_of(mixed, "same.0"))
    assert names(smaller) == ["projection", "branch"] and smaller.training
    smaller(torch.randn(4, 3, 6, 6)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())
    assert mixed.dense("same.0.weight").shape == (4, 4, 3, 3)


def test_a_network_of_one_layer_keeps_it():
    assert bypasses(capture(nn.Linear(3, 3), torch.zeros(1, 3))) == []
    assert names(capture(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), torch.zeros(1, 3))) == ["0", "1"]
