"""Networks whose channels are coupled in every way there is, and what removing channels must equal.

READ FIRST
  1. `HARD` holds small networks, `ZOO` those of the zoo; `build(name)` captures either, once in a session, and gives
     a copy with an example.
  2. `silenced` is the masked network that a smaller one must agree with. It knows nothing of coupling: a removed
     channel is NaN from where a layer makes it, goes wherever the network takes it, and counts as zero only where
     a sum over channels reads it.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersenet import zoo
from tersenet.graph import Network, capture, coupled_groups
from tersenet.graph.plan import always_trains, make_plan
from tersenet.ir import OPS, Node, Value

HARD: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {}
ZOO = tuple(zoo.ENTRIES)
LARGE = ("alexnet", "vgg16")


def hard(*shape: int, tokens: int = 0) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Enter a network that reads this shape without the batch; whole numbers below `tokens` where given."""
    generator = torch.Generator().manual_seed(5)
    size = (2, *shape)
    example = torch.randint(tokens, size, generator=generator) if tokens else torch.randn(size, generator=generator)

    def enter(made: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        HARD[made.__name__] = made, (example,)
        return made

    return enter


def function(forward: Callable[..., object], **layers: nn.Module) -> nn.Module:
    """A module of these layers whose forward is a function of (module, x)."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, layer in layers.items():
                self.add_module(name, layer)

        def forward(self, x: Tensor) -> object:
            return forward(self, x)

    return Made()


# Chains and branches


@hard(3, 8, 8)
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


@hard(3, 6, 6)
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


@hard(3, 8, 8)
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


@hard(3, 6, 6)
def dense_block() -> nn.Module:
    """Every layer reads all before it; the last sum couples two pieces of the concatenation."""

    def forward(m, x):
        y = torch.cat([x, F.relu(m.a(x))], 1)
        y = torch.cat([y, F.relu(m.b(m.bn(y)))], 1)
        return m.head((m.c(y) + y[:, 3:7] + y[:, 7:]).mean((2, 3)))

    return function(
        forward,
        a=nn.Conv2d(3, 4, 3, padding=1),
        bn=nn.BatchNorm2d(7),
        b=nn.Conv2d(7, 4, 1),
        c=nn.Conv2d(11, 4, 1),
        head=nn.Linear(4, 2),
    )


@hard(3, 8, 8)
def u_net() -> nn.Module:
    def forward(m, x):
        a = F.relu(m.down1(x))
        b = F.relu(m.down2(F.max_pool2d(a, 2)))
        return m.out(F.relu(m.join(torch.cat([a, m.up(b)], 1))))

    return function(
        forward,
        down1=nn.Conv2d(3, 4, 3, padding=1),
        down2=nn.Conv2d(4, 6, 3, padding=1),
        up=nn.ConvTranspose2d(6, 4, 2, 2),
        join=nn.Conv2d(8, 5, 3, padding=1),
        out=nn.Conv2d(5, 2, 1),
    )


@hard(3, 6, 6)
def two_outputs() -> nn.Module:
    """One output reads the trunk, the other is a piece of it."""

    def forward(m, x):
        y = F.relu(m.trunk(x))
        return m.head(y.mean((2, 3))), m.map(y[:, 2:])

    return function(
        forward,
        trunk=nn.Conv2d(3, 6, 3),
        head=nn.Linear(6, 3),
        map=nn.Conv2d(4, 1, 1),
    )


@hard(3, 6, 6)
def siamese() -> nn.Module:
    """Two paths through the same weights."""
    return function(
        lambda m, x: m.out(F.relu(m.two(F.relu(m.one(x)))) + F.relu(m.two(F.relu(m.one(x.flip(2)))))),
        one=nn.Conv2d(3, 5, 1),
        two=nn.Conv2d(5, 4, 1),
        out=nn.Conv2d(4, 2, 1),
    )


@hard(3, 6, 6)
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


@hard(3, 6, 6)
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


@hard(3, 6, 6)
def halves() -> nn.Module:
    return function(
        lambda m, x: m.out(torch.sqrt((y := m.conv(x))[:, :4].square() + y[:, 4:].square() + 1e-9)),
        conv=nn.Conv2d(3, 8, 3),
        out=nn.Conv2d(4, 2, 1),
    )


@hard(3, 6, 6)
def gated() -> nn.Module:
    """A gated unit, a stack of two, and pieces of unequal size."""

    def forward(m, x):
        y = torch.stack([F.glu(m.a(x), 1), m.b(x)], 1).amax(1)
        first, second = y.split([1, 3], 1)
        return m.out(torch.cat([second, first], 1))

    return function(forward, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(3, 4, 3), out=nn.Conv2d(4, 2, 1))


@hard(3, 6)
def stored_factors() -> nn.Module:
    """Products with matrices that belong to no layer, on either side, and a scale for each channel."""

    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time, self.scale, self.out = (nn.Parameter(torch.randn(*size)) for size in ((2, 3), (5,), (5, 4)))

    return function(
        lambda m, x: (m.factors.time @ F.relu(m.fc(x)) * m.factors.scale) @ m.factors.out,
        fc=nn.Linear(6, 5),
        factors=Factors(),
    )


# Groups of channels


@hard(3, 6, 6)
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


@hard(3, 6, 6)
def grouped() -> nn.Module:
    """A block of Xie et al. 2017, arXiv:1611.05431: 1x1, grouped 3x3, 1x1, and around it a sum."""
    return function(
        lambda m, x: m.head(
            ((y := F.relu(m.stem(x))) + m.c(F.relu(m.bn(m.b(F.relu(m.a(y))))))).mean((2, 3)),
        ),
        stem=nn.Conv2d(3, 5, 3, padding=1),
        a=nn.Conv2d(5, 8, 1),
        b=nn.Conv2d(8, 12, 3, padding=1, groups=2),
        bn=nn.BatchNorm2d(12),
        c=nn.Conv2d(12, 5, 1),
        head=nn.Linear(5, 3),
    )


@hard(4, 6, 6)
def grouped_twice() -> nn.Module:
    """Groups of the input itself, then groups of other sizes behind a flatten of the wrong shape for them."""
    return nn.Sequential(
        nn.Conv2d(4, 12, 3, groups=2),
        nn.ReLU(),
        nn.Conv2d(12, 6, 1, groups=3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 4),
    )


@hard(3, 5, 5)
def transposed() -> nn.Module:
    """Transposed convolutions with groups, one channel each (with and without a multiplier), and plain."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.ConvTranspose2d(6, 8, 2, 2, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 3, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 16, 3, groups=8),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 5, 2),
        nn.Conv2d(5, 2, 1),
    )


@hard(3, 6, 6)
def shuffled() -> nn.Module:
    """A unit of Ma et al. 2018, arXiv:1807.11164: half of the channels stay, both halves are interleaved."""

    def forward(m, x):
        y = F.relu(m.stem(x))
        keep, change = y.chunk(2, 1)
        y = torch.cat([keep, F.relu(m.c(m.b(F.relu(m.a(change)))))], 1)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return m.head(m.d(y).mean((2, 3)))

    return function(
        forward,
        stem=nn.Conv2d(3, 8, 1),
        a=nn.Conv2d(4, 4, 1),
        b=nn.Conv2d(4, 4, 3, padding=1, groups=4),
        c=nn.Conv2d(4, 4, 1),
        d=nn.Conv2d(8, 6, 1, groups=2),
        head=nn.Linear(6, 3),
    )


@hard(3, 4, 4)
def shuffles() -> nn.Module:
    """PyTorch's own channel shuffle between grouped layers, then channels that become pixels."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 1),
        nn.ChannelShuffle(3),
        nn.Conv2d(12, 16, 1, groups=2),
        nn.ReLU(),
        nn.PixelShuffle(2),
        nn.Conv2d(4, 2, 3),
    )


@hard(3, 6, 6)
def normalised() -> nn.Module:
    """Group norms: a whole group can leave. The last one takes each channel for itself."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1),
        nn.GroupNorm(1, 4),
        nn.Conv2d(4, 2, 1),
    )


# Axes that are split and merged


@hard(3, 4, 4)
def decoder() -> nn.Module:
    """A linear layer whose outputs become maps: rows leave in blocks."""
    return function(
        lambda m, x: m.conv(F.relu(m.fc(x.flatten(1))).view(-1, 4, 3, 3)),
        fc=nn.Linear(48, 36),
        conv=nn.Conv2d(4, 2, 3),
    )


@hard(6, tokens=11)
def embedded() -> nn.Module:
    """Token and position tables lose columns; the last layer reads the table again."""
    return function(
        lambda m, x: F.linear(
            F.relu(m.fc((m.tokens(x) + m.places(torch.arange(6))).mean(1))) + m.tokens(x).amax(1), m.tokens.weight
        ),
        tokens=nn.Embedding(11, 6),
        places=nn.Embedding(6, 6),
        fc=nn.Linear(6, 6),
    )


@hard(3, 5)
def recurrent() -> nn.Module:
    """Three steps of an LSTM cell from a state of zeros; both states are read at the end."""

    def forward(m, x):
        h = c = x.new_zeros(x.shape[0], 4)
        for step in range(3):
            h, c = m.cell(F.relu(m.fc(x[:, step])), (h, c))
        return m.head(F.relu(h)) + m.other(c)

    return function(forward, fc=nn.Linear(5, 6), cell=nn.LSTMCell(6, 4), head=nn.Linear(4, 2), other=nn.Linear(4, 2))


# Attention


def transformer(attend: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> nn.Module:
    """A block that normalises before attention and before a gated feed-forward layer."""

    def forward(m, x):
        x = m.embed(x)
        x = x + attend(m, m.norm1(x))
        y = m.norm2(x)
        return m.head((x + m.w2(F.silu(m.w1(y)) * m.w3(y))).mean(1))

    return function(
        forward,
        embed=nn.Linear(5, 12),
        norm1=nn.LayerNorm(12),
        **layers,
        norm2=nn.LayerNorm(12),
        w1=nn.Linear(12, 7),
        w3=nn.Linear(12, 7),
        w2=nn.Linear(7, 12),
        head=nn.Linear(12, 3),
    )


def heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


@hard(3, 6, 6)
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


@hard(4, 5)
def fused_attention() -> nn.Module:
    """One projection for query, key and value, a norm on each head's query and key, as in vision transformers."""

    def attend(m, x):
        n, t, _ = x.shape
        q, k, v = m.qkv(x).reshape(n, t, 3, 4, 3).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(m.norm_q(q), m.norm_k(k), v)
        return m.o(y.transpose(1, 2).reshape(n, t, 12))

    return transformer(
        attend, qkv=nn.Linear(12, 36), norm_q=nn.LayerNorm(3), norm_k=nn.LayerNorm(3), o=nn.Linear(12, 12)
    )


@hard(4, 5)
def written_attention() -> nn.Module:
    """Attention spelled out, its projection cut in three, with a mask and a learned bias for each head."""

    class Bias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(4, 4, 4))

    def attend(m, x):
        q, k, v = (heads(one, 4) for one in m.qkv(x).chunk(3, -1))
        score = q @ k.transpose(-2, -1) * 3**-0.5 + m.bias.table
        score = score.masked_fill(torch.ones(4, 4).triu(1).bool(), -1e9)
        return m.o((score.softmax(-1) @ v).transpose(1, 2).flatten(2))

    return transformer(attend, qkv=nn.Linear(12, 36), bias=Bias(), o=nn.Linear(12, 12))


@hard(4, 5)
def multi_head_attention() -> nn.Module:
    """PyTorch's own module, which keeps the three projections in one weight and puts heads beside the batch."""
    return transformer(
        lambda m, x: m.mha(x, x, x, need_weights=False)[0], mha=nn.MultiheadAttention(12, 4, batch_first=True)
    )


@hard(4, 5)
def weighing_attention() -> nn.Module:
    """The same module on the path that also computes the attention weights, time first."""

    def attend(m, x):
        y = x.transpose(0, 1)
        return m.mha(y, y, y)[0].transpose(0, 1)

    return transformer(attend, mha=nn.MultiheadAttention(12, 4))


@hard(4, 5)
def grouped_query_attention() -> nn.Module:
    """Two heads of keys and values for six of queries, which turn by rotary positions."""

    def turn(x):
        first, second = x.chunk(2, -1)
        angle = torch.arange(4.0)[:, None] / torch.arange(1.0, 3.0)
        cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    def attend(m, x):
        y = F.scaled_dot_product_attention(
            turn(heads(m.q(x), 6)), turn(heads(m.k(x), 2)), heads(m.v(x), 2), is_causal=True, enable_gqa=True
        )
        return m.o(y.transpose(1, 2).flatten(2))

    return transformer(attend, q=nn.Linear(12, 24), k=nn.Linear(12, 8), v=nn.Linear(12, 8), o=nn.Linear(24, 12))


@hard(3, 4, 4)
def non_local() -> nn.Module:
    """Wang et al. 2018, arXiv:1711.07971: every pixel looks at every other, over channels that end in a product."""

    def forward(m, x):
        y = F.relu(m.stem(x))
        score = m.f(y).flatten(2).transpose(1, 2) @ m.g(y).flatten(2)
        z = (score.softmax(-1) @ m.h(y).flatten(2).transpose(1, 2)).transpose(1, 2)
        return m.head((y + m.o(z.unflatten(2, (4, 4)))).mean((2, 3)))

    return function(
        forward,
        stem=nn.Conv2d(3, 6, 1),
        f=nn.Conv2d(6, 4, 1),
        g=nn.Conv2d(6, 4, 1),
        h=nn.Conv2d(6, 5, 1),
        o=nn.Conv2d(5, 6, 1),
        head=nn.Linear(6, 3),
    )


@hard(3, 8, 8)
def windows() -> nn.Module:
    """Attention inside windows of 4 x 4 pixels, as Liu et al. 2021, arXiv:2103.14030: windows join the batch."""

    def forward(m, x):
        x = m.embed(x).permute(0, 2, 3, 1)
        n = x.shape[0]
        y = x.reshape(n, 2, 4, 2, 4, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 6)
        q, k, v = m.qkv(y).reshape(-1, 16, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = m.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 16, 8))
        y = y.reshape(n, 2, 2, 4, 4, 6).permute(0, 1, 3, 2, 4, 5).reshape(n, 8, 8, 6)
        return m.head((x + y).mean((1, 2)))

    return function(
        forward,
        embed=nn.Conv2d(3, 6, 1),
        qkv=nn.Linear(6, 24),
        o=nn.Linear(8, 6),
        head=nn.Linear(6, 3),
    )


# Building


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


@functools.cache
def captured(name: str) -> tuple[Network, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    batch = 1 if name in LARGE else 2
    made, example = HARD[name] if name in HARD else (lambda: zoo.network(name), zoo.example_inputs(name, batch))
    return capture(lively(made()), example).eval(), example


def build(name: str) -> tuple[Network, tuple[Tensor, ...]]:
    """A network of `HARD` or `ZOO` in eval mode, and inputs for it."""
    if name in LARGE:  # too large to keep
        return captured.__wrapped__(name)
    network, example = captured(name)
    return network.clone(), example


def some_masks(network: Network, seed: int) -> dict[str, Tensor]:
    """What to keep: about a third of the free units of each group leaves, at least one where two are free."""
    generator = np.random.default_rng(seed)
    masks: dict[str, Tensor] = {}
    for group in coupled_groups(network):
        free = [unit for unit in range(group.size) if unit not in group.fixed]
        gone = generator.permutation(free)[: max(1, len(free) // 3)] if len(free) > 1 else []
        keep = torch.ones(group.size, dtype=torch.bool)
        keep[torch.as_tensor(gone, dtype=torch.int64)] = False
        masks |= group.masks(keep)
    return masks


# The masked network


def silenced(network: Network, keep: Mapping[str, Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    """The old network in eval mode without what the channels that are False in `keep` say; its outputs as a tuple.

    keep   layer -> one truth value for each output channel, with all coupled layers named, as `Group.masks` gives it
    """
    uses = [one for one in network.weighted_layers() if one.name in keep]
    first_use = {
        one.name: one.op for one in reversed(uses)
    }  # a table that is read again as a weight makes other channels
    layers = {one.index: keep[one.name] for one in uses if one.op == first_use[one.name]}
    plan, graph = make_plan(network.graph), network.graph

    @torch.no_grad()
    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        values: list = [*inputs, *[None] * (plan.slots - len(inputs))]
        for name, slot in plan.tensors.items():
            values[slot] = network.dense(name)
        for position, slot in plan.flags.items():
            values[slot] = always_trains(graph.nodes[position])
        for index, (node, step) in enumerate(zip(graph.nodes, plan.steps)):
            heard = values.copy()
            for number, axis in summed(node, values):
                heard[number] = without_nan(values[number], axis)
            step(heard)
            first, last = graph.first_value(index), graph.first_value(index) + OPS[node.op].outputs
            if index in layers:
                axis = 1 if node.op.startswith("conv") else heard[first].ndim - 1
                heard[first].movedim(axis, 0)[~layers[index]] = torch.nan
            values[first:last] = heard[first:last]
        return tuple(values[one.number] for one in graph.outputs)

    return run


def summed(node: Node, values: list) -> list[tuple[int, int]]:
    """The values, with their axis, whose entries along that axis a node adds up with weights."""
    if node.op == "linear":
        found = [(node.arguments["input"], -1)]
    elif node.op.startswith("conv"):
        given, groups = node.arguments["input"], node.get("groups")
        found = [] if groups == values[given.number].shape[1] else [(given, 1)]
    elif node.op == "matmul":
        found = [(node.arguments["self"], -1), (node.arguments["other"], -2)]
    elif node.op == "lstm_cell":
        found = [(node.arguments["input"], -1)]
    else:
        found = []
    return [(given.number, axis) for given, axis in found if isinstance(given, Value)]


def without_nan(value: Tensor, axis: int) -> Tensor:
    """NaN as zero where it is one of several along the axis; where all are NaN the whole is gone, and stays so."""
    lost = value.isnan()
    return value.masked_fill(lost & ~lost.all(axis, keepdim=True), 0)


def all_of(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def distance(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    """The largest difference, relative to the largest number of its output; infinite where either has a NaN."""
    assert [one.shape for one in found] == [one.shape for one in expected]
    if any(one.isnan().any() for one in (*found, *expected)):
        return float("inf")
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(found, expected))
