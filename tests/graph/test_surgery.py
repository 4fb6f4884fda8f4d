"""Removing channels equals zeroing them, whatever they are coupled to; what cannot go is refused by name."""

import copy
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersenet import ir, zoo
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture, coupled_groups, remove_channels, remove_rows
from tersenet.graph.coupling import Coupling


def function(forward, **layers: nn.Module) -> nn.Module:
    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, x: Tensor) -> Tensor:
            return forward(self, x)

    return Made()


def chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )


def residual() -> nn.Module:
    return function(
        lambda m, x: m.head(
            (z := F.relu(m.bn(m.stem(x))) + m.b(F.relu(m.a(F.relu(m.stem(x))))) * 0.5).mean((2, 3)) + z.amax((2, 3))
        ),
        stem=nn.Conv2d(3, 6, 3, padding=1),
        bn=nn.BatchNorm2d(6),
        a=nn.Conv2d(6, 5, 1),
        b=nn.Conv2d(5, 6, 3, padding=1),
        head=nn.Linear(6, 4),
    )


def branches() -> nn.Module:
    return function(
        lambda m, x: m.head(F.avg_pool2d(m.join(torch.cat([F.relu(m.a(x)), m.bn(m.b(x)), m.c(x)], 1)), 2).flatten(1)),
        a=nn.Conv2d(3, 3, 1),
        b=nn.Conv2d(3, 4, 3, padding=1),
        c=nn.Conv2d(3, 5, 5, padding=2),
        bn=nn.BatchNorm2d(4),
        join=nn.Conv2d(12, 6, 3, padding=1),
        head=nn.Linear(6 * 16, 3),
    )


def separable() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 6, 1),
        nn.PReLU(6),
        nn.ConvTranspose2d(6, 5, 2, 2),
        nn.Hardswish(),
        nn.Conv2d(5, 2, 3),
    )


def squeeze_excite() -> nn.Module:
    return function(
        lambda m, x: m.out(
            (y := m.conv(x)) * m.up(F.relu(m.down(y.mean((2, 3), keepdim=True)))).sigmoid() + m.scale(y)
        ),
        conv=nn.Conv2d(3, 6, 3),
        down=nn.Conv2d(6, 3, 1),
        up=nn.Conv2d(3, 6, 1),
        scale=nn.BatchNorm2d(6),
        out=nn.Conv2d(6, 2, 1),
    )


def decoder() -> nn.Module:
    """A linear layer whose outputs become maps: rows leave in blocks."""
    return function(
        lambda m, x: m.conv(F.relu(m.fc(x.flatten(1))).view(-1, 4, 3, 3)),
        fc=nn.Linear(48, 36),
        conv=nn.Conv2d(4, 2, 3),
    )


def padded_shortcut() -> nn.Module:
    """The shortcut of He et al.'s CIFAR networks: every second pixel, zero channels around."""
    return function(
        lambda m, x: m.head(
            (F.relu(m.b(y := F.relu(m.a(x)))) + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))).mean((2, 3))
        ),
        a=nn.Conv2d(3, 4, 3, padding=1),
        b=nn.Conv2d(4, 8, 3, stride=2, padding=1),
        head=nn.Linear(8, 3),
    )


def halves() -> nn.Module:
    return function(
        lambda m, x: m.out(torch.sqrt((y := m.conv(x))[:, :4].square() + y[:, 4:].square() + 1e-9)),
        conv=nn.Conv2d(3, 8, 3),
        out=nn.Conv2d(4, 2, 1),
    )


def attention() -> nn.Module:
    def forward(m, x):
        x = m.embed(x.flatten(2).transpose(1, 2))
        q, k, v = (one.unflatten(-1, (3, 4)).transpose(1, 2) for one in (m.q(x), m.k(x), m.v(x)))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + m.o(y)
        return m.w2(F.silu(m.w1(m.norm(x))) * m.w3(x))

    linear = nn.Linear
    return function(
        forward,
        embed=linear(3, 6),
        q=linear(6, 12),
        k=linear(6, 12),
        v=linear(6, 12),
        o=linear(12, 6),
        norm=nn.LayerNorm(6),
        w1=linear(6, 7),
        w3=linear(6, 7),
        w2=linear(7, 2),
    )


def siamese() -> nn.Module:
    return function(
        lambda m, x: m.out(F.relu(m.two(F.relu(m.one(x)))) + F.relu(m.two(F.relu(m.one(x.flip(2)))))),
        one=nn.Conv2d(3, 5, 1),
        two=nn.Conv2d(5, 4, 1),
        out=nn.Conv2d(4, 2, 1),
    )


HARD = {
    one.__name__: one
    for one in (
        chain,
        residual,
        branches,
        separable,
        squeeze_excite,
        decoder,
        padded_shortcut,
        halves,
        attention,
        siamese,
    )
}
SIDE = {"chain": 8, "branches": 8, "decoder": 4}
ZOO = (
    "lenet5",
    "resnet20",
    "squeezenet1_0",
    "vww_mobilenet",
    "stories260k",
    "silero_vad",
)


def lively(model: nn.Module) -> nn.Module:
    """Statistics and shifts that are not those of a fresh BatchNorm."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        if name.endswith("bias"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model


def build(name: str) -> tuple[Network, tuple[Tensor, ...]]:
    network, example = captured(name)
    return network.clone(), example


@functools.cache
def captured(name: str) -> tuple[Network, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    if name in HARD:
        example = (torch.randn(2, 3, SIDE.get(name, 6), SIDE.get(name, 6)),)
        return capture(lively(HARD[name]()), example).eval(), example
    example = zoo.example_inputs(name)
    return capture(lively(zoo.network(name)), example).eval(), example


def some_masks(network: Network, seed: int) -> dict[str, Tensor]:
    """A third of the free units of each group, at least one of each group where more than one is free."""
    generator = np.random.default_rng(seed)
    masks: dict[str, Tensor] = {}
    for group in coupled_groups(network):
        free = [unit for unit in range(group.size) if unit not in group.fixed]
        gone = generator.permutation(free)[: max(1, len(free) // 3)] if len(free) > 1 else []
        keep = torch.ones(group.size, dtype=torch.bool)
        keep[torch.as_tensor(gone, dtype=torch.int64)] = False
        masks |= group.masks(keep)
    return masks


def zeroed(network: Network, masks: dict[str, Tensor]) -> Network:
    """The network of the old size with zeros wherever a removed unit has a weight."""
    coupling, twin = Coupling(network), network.clone()
    gone = {unit for name, keep in masks.items() for unit in coupling.roots(coupling.layers[name])[~keep.numpy()]}
    for (name, axis), units in coupling.tensors.items():
        if not name.endswith(("running_mean", "running_var")):
            hit = torch.from_numpy(np.isin(coupling.roots(units), list(gone)))
            tensor = twin.dense(name).clone()
            tensor.movedim(axis, 0)[hit] = 0
            twin.set_tensor(name, tensor)
    return twin


def first(y):
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", [*HARD, *ZOO])
def test_a_smaller_network_answers_as_the_one_with_zeros(name):
    network, example = build(name)
    masks = some_masks(network, 1)
    assert any(not mask.all() for mask in masks.values())
    smaller = remove_channels(network, masks)
    assert ir.read(ir.write(smaller.graph)) == smaller.graph
    old, new = (sum(one.numel() for one in net.parameters()) for net in (network, smaller))
    assert new < old and smaller.state_dict().keys() == network.state_dict().keys()
    with torch.no_grad():
        expected = first(zeroed(network, masks)(*example))
        torch.testing.assert_close(first(smaller(*example)), expected, rtol=1e-5, atol=1e-5)
        # The law compares something: zeros change the answer.
        assert not torch.allclose(first(network(*example)), expected, rtol=1e-5, atol=1e-5)


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
    assert names["attention"][1:] == [("q", "k", "v"), ("w1", "w3"), ("w2",)]


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
    torch.testing.assert_close(smaller(x), zeroed(network, {"0": keep})(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "forward, layers, name, sentence",
    [
        (lambda m, x: m.a(x), {"a": nn.Conv2d(3, 4, 1)}, "a", "reaches the network's output 'output'"),
        (
            lambda m, x: m.b(m.a(x)),
            {"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(4, 4, 1, groups=2)},
            "a",
            r"node 1 \(conv2d\) has 2 groups",
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
            lambda m, x: m.b(m.a(x).reshape(x.shape[0], 2, 2, -1).transpose(1, 2).flatten(1)),
            {"a": nn.Conv2d(3, 3, 1), "b": nn.Linear(108, 4)},
            "a",
            r"\(reshape\) mixes",
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
