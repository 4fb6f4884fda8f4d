"""Removing channels equals zeroing them, whatever they are coupled to; what cannot go is refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from structures import HARD, build, function, silenced, some_masks
from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.graph import capture, coupled_groups, remove_channels, remove_rows


def test_the_filter_its_batchnorm_and_the_next_columns_leave_by_hand():
    network, (x,) = build("chain")
    keep = torch.tensor([True, False, True, True, False, True])
    masked = network.clone()
    for name in ("0.weight", "1.weight", "1.bias"):
        tensor = masked.dense(name).clone()
        tensor[~keep] = 0
        masked.set_tensor(name, tensor)
    smaller = remove_rows(network, "0", keep)
    shapes = {name: tuple(tensor.shape) for name, tensor in smaller.state_dict().items()}
    assert shapes["0.weight"] == (4, 3, 3, 3) and shapes["4.weight"] == (4, 4, 3, 3)
    assert shapes["1.weight"] == shapes["1.running_mean"] == shapes["1.running_var"] == (4,)
    torch.testing.assert_close(smaller(x), masked(x), rtol=1e-5, atol=1e-5)


def test_a_channel_takes_its_block_of_columns_behind_a_flatten():
    network, _ = build("chain")
    smaller = remove_rows(network, "4", torch.tensor([True, False, True, True]))
    blocks = network.dense("8.weight").reshape(5, 4, 9)
    assert torch.equal(smaller.dense("8.weight"), blocks[:, [0, 2, 3]].reshape(5, 27))


def test_the_original_is_not_touched_and_nothing_is_shared():
    network, _ = build("residual")
    before = copy.deepcopy(network.state_dict())
    smaller = remove_channels(network, some_masks(network, 0))
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_smaller_network_trains_on():
    network, example = build("residual")
    network.layer("a").weight.requires_grad_(False)
    smaller = remove_channels(network.train(), some_masks(network, 0))
    assert smaller.training and not smaller.layer("a").weight.requires_grad
    smaller(*example).square().sum().backward()
    assert all(p.grad is not None for name, p in smaller.named_parameters() if name != "a.weight")


def test_groups_list_what_leaves_together():
    names = {name: [group.layers for group in coupled_groups(build(name)[0])] for name in HARD}
    assert names["chain"] == [("0",), ("4",), ("8",), ("10",)]
    assert names["residual"] == [("stem", "b"), ("a",), ("head",)]
    assert names["branches"] == [("a",), ("b",), ("c",), ("join",), ("head",)]
    assert names["separable"] == [("0", "1"), ("4",), ("6",), ("8",)]
    assert names["squeeze_excite"] == [("conv", "up"), ("down",), ("out",)]
    assert names["dense_block"] == [("a", "b", "c"), ("head",)]
    assert names["u_net"] == [("down1",), ("down2",), ("up",), ("join",), ("out",)]
    assert names["grouped"] == [("stem", "c"), ("a",), ("b",), ("head",)]
    assert names["transposed"] == [("0",), ("1", "3", "5"), ("7",), ("8",)]
    assert names["shuffled"] == [("stem", "c"), ("a", "b"), ("d",), ("head",)]
    assert names["embedded"] == [("tokens", "places", "fc")]
    assert names["attention"][1:] == [("q", "k", "v"), ("w1", "w3"), ("w2",)]
    assert names["multi_head_attention"][1:-1] == [("mha.in_proj_weight",), ("w1", "w3")]
    assert names["grouped_query_attention"][1:-1] == [("q", "k", "v"), ("w1", "w3")]
    assert names["non_local"] == [("stem", "o"), ("f", "g"), ("h",), ("head",)]


@pytest.mark.parametrize(
    "name, layer, units",
    [
        ("grouped", "b", [0, 1, 2, 3, 4, 5] * 2),  # the same filter of each group
        ("transposed", "5", [0, 0, 1, 1, 2, 2, 3, 3] * 2),  # a multiplier of two behind two groups of four
        ("normalised", "0", [0, 0, 1, 1, 2, 2, 3, 3]),  # a group of the norm
        ("shuffles", "2", [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4),  # four filters a pixel block, in two groups
        ("decoder", "fc", [0] * 9 + [1] * 9 + [2] * 9 + [3] * 9),  # a map
        ("attention", "q", [0] * 4 + [1] * 4 + [2] * 4),  # a head
        ("fused_attention", "qkv", [unit for _ in range(3) for unit in range(4) for _ in range(3)]),
        ("grouped_query_attention", "q", [0] * 12 + [1] * 12),  # the three heads that share a key
        ("grouped_query_attention", "k", [0] * 4 + [1] * 4),
        ("windows", "qkv", [unit for _ in range(3) for unit in range(2) for _ in range(4)]),
    ],
)
def test_which_channels_are_one_unit(name, layer, units):
    group = next(group for group in coupled_groups(build(name)[0]) if layer in group.layers)
    assert group.units[layer].tolist() == units and not group.fixed


def test_numbers_that_count_channels_follow():
    def after(name, op):
        network = build(name)[0]
        smaller = remove_channels(network, some_masks(network, 0))
        return [node.arguments for node in smaller.graph.nodes if node.op == op]

    assert [one["groups"] for one in after("transposed", "conv_transpose2d") if "groups" in one] == [2, 6, 6]
    assert [one["num_groups"] for one in after("normalised", "group_norm")] == [3, 4, 1]
    assert [one["shape"] for one in after("fused_attention", "reshape")] == [(0, 4, 3, 3, 3)]


def test_a_channel_that_is_read_by_its_number_stays_and_keeps_it():
    model = function(
        lambda m, x: m.b(m.a(x)).sum((1, 2, 3)) + m.a(x)[:, 3].sum((1, 2)), a=nn.Conv2d(3, 5, 1), b=nn.Conv2d(5, 2, 1)
    )
    x = torch.randn(2, 3, 4, 4)
    network = capture(model, x)
    (group,) = (group for group in coupled_groups(network) if "a" in group.layers)
    assert list(group.fixed) == [3] and "reads this channel alone" in group.fixed[3]
    keep = {"a": torch.tensor([False, True, False, True, True])}
    smaller = remove_channels(network, keep)
    torch.testing.assert_close(smaller(x), *silenced(network, keep)(x), rtol=1e-5, atol=1e-5)
    assert [node.arguments["index"] for node in smaller.graph.nodes if node.op == "select"] == [1]


def test_a_depthwise_multiplier_makes_units_of_several_rows():
    group = coupled_groups(build("separable")[0])[0]
    assert group.size == 4 and group.units["1"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    masks = group.masks(torch.tensor([True, False, True, True]))
    assert masks["1"].tolist() == [True, True, False, False, True, True, True, True]


def test_one_member_takes_the_others_along_and_a_clash_is_refused():
    network, _ = build("residual")
    keep = torch.tensor([False, True, True, True, True, True])
    assert remove_rows(network, "b", keep).dense("stem.weight").shape[0] == 5
    with pytest.raises(TersenetError, match="the masks disagree: 1 channels of 'stem'"):
        remove_channels(network, {"b": keep, "stem": torch.ones(6, dtype=torch.bool)})


def test_a_depthwise_convolution_of_one_channel_left_is_an_ordinary_one():
    network, (x,) = build("separable")
    keep = torch.tensor([False, False, True, False])
    smaller = remove_rows(network, "0", keep)
    masked = silenced(network, {"0": keep, "1": keep.repeat_interleave(2)})
    torch.testing.assert_close(smaller(x), *masked(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "forward, layers, name, sentence",
    [
        (lambda m, x: m.a(x), {"a": nn.Conv2d(3, 4, 1)}, "a", "reaches the network's output 'output'"),
        (
            lambda m, x: m.b(m.a(x).mean((2, 3)).unsqueeze(-1).repeat(1, 1, 2)),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Linear(2, 2)},
            "a",
            r"\(linear\) reads along axis 2, where its channels do not lie",
        ),
        (
            lambda m, x: m.b(F.local_response_norm(m.a(x), 3)),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(4, 4, 1)},
            "a",
            "mixes or rearranges",
        ),
        (
            lambda m, x: m.b(m.a(x) + x),
            {"a": nn.Conv2d(3, 3, 1), "b": nn.Conv2d(3, 4, 1)},
            "a",
            r"\(add\) combines channels with what has none",
        ),
        (
            lambda m, x: m.b(F.softmax(m.a(x), 1)),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(4, 4, 1)},
            "a",
            r"\(softmax\) mixes",
        ),
        (
            lambda m, x: m.b(m.a(x).reshape(x.shape[0], 3, 2, -1).sum(1).flatten(1)),
            {"a": nn.Conv2d(3, 2, 1), "b": nn.Linear(24, 4)},
            "a",
            "nothing would be left of 'a.weight'",
        ),
        (
            lambda m, x: m.b(m.a(x).transpose(0, 1).flatten(0, 1)),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv1d(6, 2, 1)},
            "a",
            r"\(flatten\) mixes",
        ),
        (
            lambda m, x: m.b(m.a(x)[:, ::2]),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(2, 4, 1)},
            "a",
            r"\(slice\) takes channels at fixed distances",
        ),
        (
            lambda m, x: m.b(F.layer_norm(m.a(x), (4, 6, 6))),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(4, 4, 1)},
            "a",
            r"\(layer_norm\) normalises over the channels",
        ),
        (
            lambda m, x: m.b(F.group_norm(m.a(x), 1)),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(4, 4, 1)},
            "a",
            r"\(group_norm\) normalises over groups",
        ),
        (
            lambda m, x: m.b(m.a(x) * torch.sigmoid(x[:, :1])) + m.c(x[:, :1] * m.d(x)),
            {
                "a": nn.Conv2d(3, 4, 1),
                "b": nn.Conv2d(4, 2, 1),
                "c": nn.Conv2d(1, 2, 1),
                "d": nn.Conv2d(3, 1, 1),
            },
            "b",
            "reaches",
        ),
    ],
)
def test_what_cannot_leave_says_why(forward, layers, name, sentence):
    network = capture(function(forward, **layers), torch.randn(2, 3, 6, 6))
    keep = torch.ones(len(network.dense(f"{name}.weight")), dtype=torch.bool)
    keep[0] = False
    with pytest.raises(TersenetError, match=sentence):
        remove_rows(network, name, keep)


def test_masks_that_do_not_fit_are_refused():
    network, _ = build("chain")
    with pytest.raises(TersenetError, match="no weighted layer 'conv9'; it has 0, 4, 8, 10"):
        remove_rows(network, "conv9", torch.ones(3, dtype=torch.bool))
    with pytest.raises(TersenetError, match=r"torch.float32 of shape \(6,\)"):
        remove_rows(network, "0", torch.ones(6))
    with pytest.raises(TersenetError, match="6 output channels"):
        remove_rows(network, "0", torch.ones(5, dtype=torch.bool))
    with pytest.raises(TersenetError, match="keep at least one"):
        remove_rows(network, "0", torch.zeros(6, dtype=torch.bool))


class Held(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.held = nn.Parameter(weight.clone())

    def forward(self) -> Tensor:
        return self.held * 1.0


def test_forms_that_are_not_cut_stay_and_those_that_are_must_be_detached():
    network, (x,) = build("chain")
    network.attach("10.weight", Held(network.dense("10.weight")))
    keep = torch.tensor([True, False, True, True])
    smaller = remove_rows(network, "4", keep)
    assert isinstance(smaller.form("10.weight"), Held) and smaller.form("10.weight") is not network.form("10.weight")
    assert smaller(x).shape == (2, 3)
    network.attach("8.weight", Held(network.dense("8.weight")))
    with pytest.raises(TersenetError, match=r"'8\.weight' is stored as Held; detach it first"):
        remove_rows(network, "4", keep)


def test_a_mask_that_keeps_all_gives_the_same_network():
    network, (x,) = build("padded_shortcut")
    same = remove_rows(network, "a", torch.ones(4, dtype=torch.bool))
    assert same.graph == network.graph and torch.equal(same(x), network(x))
