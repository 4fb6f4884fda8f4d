"""One layer, or one group, changes alone; all else stays bit for bit."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.search.alone import METHODS, changed, check_levels, check_methods, targets

GROUP = ("first", "back")


@pytest.mark.parametrize("method", METHODS)
def test_the_network_that_was_given_stays_as_it_is(network, method):
    before = {name: tensor.clone() for name, tensor in network.tensors().items()}
    target = targets(network, method, "*")[0]
    changed(network, method, target, {"bits": 1}.get(method, 0.3), seed=0)
    assert not network.forms()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.tensors().items())


@pytest.mark.parametrize("method", ["prune", "bits"])
def test_only_the_layer_that_is_named_differs(network, method):
    for (name,) in targets(network, method, "*"):
        after, differ = changed(network, method, (name,), {"bits": 1}.get(method, 0.3), seed=0)
        assert differ == [f"{name}.weight"]
        others = [one for one in network.graph.parameters if one not in differ]
        assert all(torch.equal(after.dense(one), network.dense(one)) for one in others)
        assert not torch.equal(after.dense(differ[0]), network.dense(differ[0]))


def test_two_layers_stand_for_one_and_hold_at_most_the_share(network):
    before = network.dense("hidden.weight")
    after, differ = changed(network, "rank", ("hidden",), 0.5, seed=0)
    assert differ == ["hidden.weight", "hidden.bias", "hidden.0.weight", "hidden.1.weight", "hidden.1.bias"]
    factors = [after.dense(f"hidden.{number}.weight") for number in (0, 1)]
    assert sum(one.numel() for one in factors) == 4 * (12 + 24) <= 0.5 * before.numel()
    u, s, v = torch.linalg.svd(before)
    torch.testing.assert_close(factors[1] @ factors[0], u[:, :4] * s[:4] @ v[:4], rtol=1e-4, atol=1e-5)
    whole, differ = changed(network, "rank", ("hidden",), 1.0, seed=0)
    assert not differ and whole.graph == network.graph


def test_layers_called_by_the_words_of_patterns_are_found_by_name(network):
    assert targets(network, "rank", "*") == [("first",), ("inside",), ("back",), ("hidden",), ("last",)]
    after, _ = changed(network, "rank", ("last",), 0.5, seed=0)
    assert "last.0.weight" in after.graph.parameters and "hidden.weight" in after.graph.parameters


def test_pruning_keeps_the_largest_and_their_values(network):
    after, _ = changed(network, "prune", ("hidden",), 0.25, seed=0)
    was, now = network.dense("hidden.weight"), after.dense("hidden.weight")
    kept = now != 0
    assert int(kept.sum()) == round(0.25 * was.numel())
    assert torch.equal(now[kept], was[kept]) and was[kept].abs().min() >= was[~kept].abs().max()


def test_bits_leave_two_to_the_bits_values(network):
    for bits in (1, 3):
        after, _ = changed(network, "bits", ("hidden",), bits, seed=0)
        assert len(after.dense("hidden.weight").unique()) == 2**bits


def test_a_group_loses_its_channels_together_and_only_those_with_the_smallest_norm(network):
    assert targets(network, "channels", "*") == [GROUP, ("inside",), ("hidden",)]
    after, differ = changed(network, "channels", GROUP, 0.5, seed=0)
    assert after.dense("first.weight").shape[0] == after.dense("back.weight").shape[0] == 3
    assert after.dense("inside.weight").shape[1] == 3 and after.dense("hidden.weight").shape[1] == 12
    assert {"first.weight", "norm.running_mean", "back.bias", "hidden.weight"} <= set(differ)
    assert "last.weight" not in differ
    norms = network.dense("first.weight").flatten(1).square().sum(1) + network.dense("back.weight").flatten(
        1
    ).square().sum(1)
    stays = torch.sort(norms.topk(3).indices).values
    assert torch.equal(after.dense("first.weight"), network.dense("first.weight")[stays])


@pytest.mark.parametrize("layer", [("inside",), ("hidden",), GROUP])
def test_at_the_smallest_level_every_layer_keeps_a_channel(network, layer):
    after, _ = changed(network, "channels", layer, 1e-9, seed=0)
    assert after.dense(f"{layer[0]}.weight").shape[0] == 1
    assert torch.isfinite(after(torch.randn(2, 1, 4, 4))).all()


def test_a_pattern_chooses_whole_groups(network):
    assert targets(network, "channels", "back") == [GROUP]
    assert targets(network, "prune", "op:linear") == [("hidden",), ("last",)]


def test_the_output_has_no_channels_to_lose(network):
    with pytest.raises(TersenetError, match="channels: no group of 'last.weight' can lose any.*last: it reaches the"):
        targets(network, "channels", "last.weight")


def test_what_matches_nothing_is_refused_with_the_nearest(network):
    with pytest.raises(TersenetError, match="no layer matches 'hiden'.*for example hidden"):
        targets(network, "prune", "hiden")


@pytest.mark.parametrize("methods", [("tucker",), ("prune", "tucker"), ()])
def test_methods_that_are_not_there_are_refused_with_those_that_are(methods):
    with pytest.raises(TersenetError, match="present are prune, bits, channels, rank"):
        check_methods(methods)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan"), float("inf")])
def test_shares_lie_above_0_and_not_above_1(share):
    with pytest.raises(TersenetError, match="a level of"):
        check_levels((0.5, share), ())


@pytest.mark.parametrize("bits", [0, -1, 17, 2.5, float("nan")])
def test_bits_lie_from_1_to_16(bits):
    with pytest.raises(TersenetError, match=f"a level of {bits} bits"):
        check_levels((), (4, bits))


def test_the_ends_of_the_ranges_are_allowed():
    check_levels((1.0, 1e-9), (1, 16))
