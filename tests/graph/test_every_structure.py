"""Laws of structural removal, for every network of the zoo and every hard graph.

A smaller network answers as the old one where what leaves is silent; it is saved and loaded, trains, and runs without
torch like any other.
"""

import functools

import pytest
import torch
from structures import HARD, LARGE, ZOO, all_of, build, distance, function, silenced, some_masks
from torch import Tensor, nn

from tersenet import artifact, ir, runtime
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture, coupled_groups, remove_channels
from tersenet.graph.coupling_rules import RULES

NETWORKS = [*HARD, *(name for name in ZOO if name != "linear")]  # whose one layer is its output
# ResNets that differ from others only in depth take no more than the first law.
SMALL = [name for name in NETWORKS if name not in (*LARGE, "resnet32", "resnet44", "resnet56", "resnet110")]


@functools.cache
def smaller(name: str) -> tuple[Network, tuple[Tensor, ...]]:
    network, example = build(name)
    return remove_channels(network, some_masks(network, 0)), example


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_smaller_network_answers_as_the_one_where_what_leaves_is_silent(name):
    network, example = build(name)
    before = all_of(network(*example))
    for seed in range(4 if name in HARD else 1):
        masks = some_masks(network, seed)
        reduced = remove_channels(network, masks)
        expected = silenced(network, masks)(*example)
        assert distance(all_of(reduced(*example)), expected) < 1e-5
        assert distance(before, expected) > 1e-3  # the law compares something
        assert ir.read(ir.write(reduced.graph)) == reduced.graph
        assert reduced.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("name", HARD)
@torch.no_grad()
def test_every_unit_that_is_not_fixed_can_leave_alone(name):
    network, example = build(name)
    for group in coupled_groups(network):
        for unit in set(range(group.size)) - set(group.fixed):
            keep = torch.ones(group.size, dtype=torch.bool)
            keep[unit] = False
            masks = group.masks(keep)
            reduced = remove_channels(network, masks)
            assert distance(all_of(reduced(*example)), silenced(network, masks)(*example)) < 1e-5
            assert len(reduced.dense(layer_weight(network, group.layers[0]))) > 0


def layer_weight(network: Network, layer: str) -> str:
    return next(one.weight for one in network.weighted_layers() if one.name == layer)


@pytest.mark.parametrize("name", HARD)
@torch.no_grad()
def test_units_leave_one_after_the_other_until_none_may(name):
    network, example = build(name)
    for _ in range(200):
        free = [
            (group, unit) for group in coupled_groups(network) for unit in set(range(group.size)) - set(group.fixed)
        ]
        if not free:
            break
        group, unit = free[0]
        keep = torch.ones(group.size, dtype=torch.bool)
        keep[unit] = False
        network = remove_channels(network, group.masks(keep))
    else:
        pytest.fail("units are still free after 200 removals")
    assert all(one.isfinite().all() for one in all_of(network(*example)))


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_smaller_network_is_saved_and_loaded(name):
    network, example = smaller(name)
    loaded = artifact.from_contents(decode(artifact.to_bytes(network))).eval()
    for one, other in zip(all_of(loaded(*example)), all_of(network(*example)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", SMALL)
def test_a_smaller_network_trains_on(name):
    original, example = build(name)
    network = smaller(name)[0].clone()
    learned = []
    for one in (original, network):
        one.train()
        torch.manual_seed(0)
        statistics = {key: tensor.clone() for key, tensor in one.state_dict().items() if key.endswith("running_mean")}
        sum(output.square().sum() for output in all_of(one(*example))).backward()
        learned.append({key for key, parameter in one.named_parameters() if parameter.grad is not None})
        assert all(parameter.grad.isfinite().all() for parameter in one.parameters() if parameter.grad is not None)
        assert all(not torch.equal(one.state_dict()[key], before) for key, before in statistics.items())
    assert learned[0] == learned[1] != set()


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_smaller_network_runs_without_torch(name, monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", "")
    network, example = smaller(name)
    data = artifact.to_bytes(network, coder="raw")
    found = runtime.open_bytes(data, threads=1)(*(one.numpy() for one in example))
    found = tuple(torch.from_numpy(one) for one in (found if isinstance(found, tuple) else (found,)))
    assert distance(found, all_of(network(*example))) < 1e-4


# The laws can fail


@torch.no_grad()
def test_a_rule_that_lets_channels_through_where_they_mix_is_seen(monkeypatch):
    model = function(lambda m, x: m.b(m.a(x).softmax(1)), a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 2, 1))
    x = torch.randn(2, 3, 4, 4)
    network = capture(model, x).eval()
    keep = {"a": torch.tensor([True, False, True, True, True, True])}
    with pytest.raises(TersenetError, match="softmax"):
        remove_channels(network, keep)
    monkeypatch.setitem(RULES, "softmax", lambda coupling, index, node, output: coupling.source(node)[1])
    reduced = remove_channels(network, keep)
    assert distance((reduced(x),), silenced(network, keep)(x)) > 1e-3


@torch.no_grad()
def test_a_network_that_lost_another_channel_is_seen():
    network, example = build("residual")
    masks, other = some_masks(network, 1), some_masks(network, 2)
    assert distance((remove_channels(network, masks)(*example),), silenced(network, other)(*example)) > 1e-3
