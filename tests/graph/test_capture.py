"""Capturing changes nothing: the same answers, gradients, statistics and names as the original network."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersenet import ir, zoo
from tersenet.errors import TersenetError
from tersenet.graph import CaptureError, Network, capture


class Residual(nn.Module):
    """A convolution with BatchNorm, an in-place activation, a residual sum and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.again = nn.Conv2d(6, 6, 3, padding="same")
        self.dense = nn.Linear(12, 4)  # the name of a method of Network

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)), inplace=True)
        y = torch.cat([x, x + self.again(x)], 1)
        return self.dense(y.mean((2, 3)))


class Separable(nn.Module):
    """Depthwise, grouped, even-kernel 'same', dilated and transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 1),
            nn.ReLU6(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Hardtanh(0, 6),
            nn.Conv2d(8, 6, 4, padding="same", groups=2),
            nn.Conv2d(6, 6, (2, 3), padding="same", dilation=(1, 2), padding_mode="reflect"),
            nn.Hardswish(),
            nn.Conv2d(6, 6, 3, padding="valid", dilation=2),
            nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1),
            nn.SELU(),
            nn.CELU(0.7),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Transformer(nn.Module):
    """A class token, fused attention, chunked projections and split heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.block(torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1))
        q, k, v = (one.view(x.size(0), -1, 2, 4).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        mask = torch.triu(torch.full((x.size(1), x.size(1)), float("-inf")), 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.transpose(1, 2).reshape(x.shape[0], -1, 8)
        return self.head(y[:, 0] + y.flatten(1).unflatten(1, (-1, 8)).amax(1))


class Recurrent(nn.Module):
    """An LSTM cell that starts from zeros, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 7)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, c = self.cell(x)
        return self.cell(x * 0.5, (h, c))


class Odds(nn.Module):
    """Local response normalisation, pads, in-place sums, scalars, splits and a constant of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(3)
        self.register_buffer("shift", torch.randn(6), persistent=False)
        self.drop = nn.Dropout2d(0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.pad(self.norm(x), (1, 2, 0, 1), value=0.5))
        a, b = x.split([2, 4], dim=1)
        c = torch.cat([b, a], 1).permute(0, 2, 3, 1) + self.shift[:6].view(1, 1, 1, 6)
        c += 1
        c.mul_(2)
        d = 1 - c / 3
        e = d.square() + (d.abs() + 1).reciprocal()
        m = (torch.arange(6) % 2).bool()
        return e.masked_fill(m, 0.25).movedim(3, 1)[:, ::2, -1].clamp_min(0.1)


class Shared(nn.Module):
    """One weight in two places, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6, padding_idx=0)
        self.out = nn.Linear(6, 9)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(F.silu(self.embed(tokens)))


HARD = {
    "residual": (Residual, (3, 8, 8)),
    "separable": (Separable, (4, 9, 9)),
    "transformer": (Transformer, (3, 6, 6)),
    "recurrent": (Recurrent, (5,)),
    "odds": (Odds, (6, 5, 4)),
    "shared": (Shared, (4,)),
    "single": (lambda: nn.Linear(4, 3), (4,)),
    "sequential": (
        lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU("tanh"), nn.Dropout(0.5), nn.Linear(5, 2)),
        (4,),
    ),
    "norms": (
        lambda: nn.Sequential(nn.GroupNorm(2, 6), nn.LayerNorm([6, 3]), nn.RMSNorm(3), nn.PReLU(6)),
        (6, 3),
    ),
    "stateless_norm": (
        lambda: nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Tanh()),
        (6, 4),
    ),
}
ZOO = (
    "linear",
    "lenet5",
    "lenet5_tf",
    "resnet20",
    "resnet8",
    "squeezenet1_0",
    "mobilenet_v1_025_128",
    "vww_mobilenet",
    "ad01_autoencoder",
    "stories260k",
    "silero_vad",
)


def inputs_of(shape: tuple[int, ...], batch: int, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(batch)
    if name == "shared":
        return torch.randint(9, (batch, *shape), generator=generator)
    return torch.randn(batch, *shape, generator=generator)


def build(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    factory, shape = HARD[name]
    return factory(), inputs_of(shape, 3, name)


def outputs(network: nn.Module, *x: Tensor) -> tuple[Tensor, ...]:
    y = network(*x)
    return y if isinstance(y, tuple) else (y,)


@pytest.mark.parametrize("name", HARD)
def test_a_captured_network_gives_the_same_bits_at_any_batch_size(name):
    model, example = build(name)
    network = capture(model, example)
    assert ir.read(ir.write(network.graph)) == network.graph
    for batch in (1, 2, 5):
        x = inputs_of(tuple(example.shape[1:]), batch, name)
        with torch.set_grad_enabled(name == "transformer"):  # without gradients its encoder takes another path
            for ours, theirs in zip(outputs(network.eval(), x), outputs(model.eval(), x), strict=True):
                assert ours.shape == theirs.shape and torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ZOO)
def test_every_zoo_network_is_captured_to_the_bit(name):
    torch.manual_seed(2)
    model = zoo.network(name).eval()
    network = capture(model, zoo.example_inputs(name))
    assert ir.read(ir.write(network.graph)) == network.graph
    with torch.no_grad():
        for batch in (1, 3):
            x = zoo.example_inputs(name, batch, batch)
            for ours, theirs in zip(outputs(network, *x), outputs(model, *x), strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", HARD)
def test_tensors_keep_their_names_and_values(name):
    model, example = build(name)
    ours = capture(model, example).state_dict()
    theirs = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    theirs.pop("out.weight" if name == "shared" else "", None)  # the second name of a shared tensor
    constants = {key for key in ours if key.rpartition(".")[2].startswith(("constant", "shift"))}
    assert list(theirs) == [key for key in ours if key not in constants]
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


def test_the_original_class_loads_the_captured_state():
    model, example = build("residual")
    state = dict(capture(model, example).state_dict())
    model.load_state_dict(state, strict=True)


@pytest.mark.parametrize("name", [name for name in HARD if name not in ("odds", "sequential", "transformer")])
def test_a_training_step_moves_weights_and_statistics_alike(name):
    model, example = build(name)
    network = capture(model, example)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for one in (model.train(), network.train()):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            sum(y.square().sum() for y in outputs(one, example)).backward()
            optimizer.step()
    ours, theirs = network.state_dict(), model.state_dict()
    assert any(not torch.equal(before[key], ours[key]) for key in ours) or not list(model.parameters())
    for key, value in theirs.items():
        if key in ours:
            torch.testing.assert_close(ours[key], value, rtol=1e-6, atol=1e-6)


def test_dropout_follows_the_mode_of_the_rebuilt_network():
    model, example = build("sequential")
    network = capture(model.eval(), example)
    assert not network.training and torch.equal(network(example), network(example))
    network.train()
    torch.manual_seed(0)
    ours = network(example)
    torch.manual_seed(0)
    assert torch.equal(ours, model.train()(example)) and not torch.equal(ours, network(example))


def test_batchnorm_can_be_frozen_by_its_layer():
    model, example = build("residual")
    network = capture(model, example).train()
    network.layer("bn").eval()
    before = network.dense("bn.running_mean").clone()
    network(example)
    assert torch.equal(before, network.dense("bn.running_mean"))
    network.layer("bn").train()
    network(example)
    assert not torch.equal(before, network.dense("bn.running_mean"))


def test_the_model_stays_as_it_was():
    model, example = build("residual")
    model.train()
    model.bn.eval()
    before = copy.deepcopy(model.state_dict())
    network = capture(model, example)
    assert model.training and model.conv.training and not model.bn.training
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7.0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_an_example_of_one_leaves_the_batch_free():
    model, example = build("residual")
    assert capture(model, example[:1])(example).shape == (3, 4)


def test_a_shared_weight_is_one_tensor_used_twice():
    network = capture(*build("shared"))
    assert [layer.weight for layer in network.weighted_layers()] == ["embed.weight", "embed.weight"]
    assert len(list(network.parameters())) == 2


def test_several_inputs_and_outputs_have_names():
    class Step(nn.Module):
        def forward(self, tokens: Tensor, state: Tensor) -> dict[str, Tensor]:
            return {"sum": state + tokens.float(), "state": state * 2}

    network = capture(Step(), (torch.ones(2, 3, dtype=torch.int64), torch.randn(2, 3)))
    assert [(one.name, one.dtype, one.shape) for one in network.graph.inputs] == [
        ("tokens", "int64", (3,)),
        ("state", "float32", (3,)),
    ]
    assert network.graph.output_names == ("sum", "state")
    assert capture(*build("recurrent")).graph.output_names == ("output_0", "output_1")
    assert capture(*build("residual")).graph.output_names == ("output",)


def test_views_are_written_in_one_spelling():
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x.view(x.size(0), -1), x.reshape(-1, 12), x.flatten(1), torch.flatten(x, 1, 2)], 1)

    ops = [node.op for node in capture(Flat(), torch.randn(2, 3, 4)).graph.nodes]
    assert ops == ["flatten"] * 4 + ["cat"]


def test_constants_are_computed_once_and_stored_once():
    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            a, b = torch.tril(torch.ones(3, 3)).clone(), torch.ones(3, 3).tril_()
            return x * a + x * b

    network = capture(Masked(), torch.randn(2, 3, 3))
    assert [node.op for node in network.graph.nodes] == ["mul", "mul", "add"]
    assert set(network.graph.buffers) == {"constant0"}
    assert torch.equal(network.dense("constant0"), torch.ones(3, 3).tril())


def test_changing_part_of_a_tensor_that_is_read_again_is_refused():
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            y[:, :1].add_(1)
            return y

    with pytest.raises(CaptureError, match="changes part of a tensor"):
        capture(Half(), torch.randn(2, 3))


def test_changing_a_whole_tensor_in_place_reaches_its_aliases():
    class Whole(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            z = y.detach()
            y.add_(1)
            y.relu_()
            return y + z

    x = torch.randn(2, 3)
    assert torch.equal(capture(Whole(), x)(x), Whole()(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.glu(x, 1),
        lambda x: F.instance_norm(x),
        lambda x: x.max(1)[0],
        lambda x: x.view(x.shape[0], 2, 2, -1).transpose(1, 2).contiguous().view(x.shape[0], -1, 3, 3),
        lambda x: torch.zeros(1, 1, 3, 3).repeat(x.size(0), 4, 1, 1) + x,
        lambda x: x.unbind(1)[2] + x.chunk(2, 1)[1].sum(1) + x.narrow(1, 1, 1).squeeze(1),
        lambda x: x.mT @ x - 2 / (x + 9) + x**2,
        lambda x: torch.stack([x, x[..., :1].expand_as(x)], 1).flatten(1, 2),
    ],
)
def test_other_spellings_are_said_with_the_same_operations(function):
    network = capture(_lambda(function), torch.randn(2, 4, 3, 3))
    for batch in (1, 3):
        x = torch.randn(batch, 4, 3, 3)
        torch.testing.assert_close(network(x), function(x), rtol=0, atol=1e-6)


def test_an_unknown_operation_is_named_with_its_place():
    class Deep(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumsum(x, 1)

    with pytest.raises(CaptureError, match=r"cumsum.*test_capture.py.*torch.cumsum\(x, 1\).*module 'inner'.*supported"):
        capture(_named(inner=Deep()), torch.randn(2, 3))


def _named(**children: nn.Module) -> nn.Module:
    class Outer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            for child in self.children():
                x = child(x)
            return x

    outer = Outer()
    for name, child in children.items():
        outer.add_module(name, child)
    return outer


@torch.no_grad()
def _without_gradients(x: Tensor) -> Tensor:
    return x * 2


def _lambda(function) -> nn.Module:
    class Wrapped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    return Wrapped()


@pytest.mark.parametrize(
    "function, sentence",
    [
        (lambda x: x.view(2, -1) * 1, "fixes its batch size"),
        (lambda x: x if x.sum() > 0 else -x, r"cannot trace .*test_capture.py.*if x.sum\(\) > 0 else -x"),
        (lambda x: x + torch.rand(3), "rand"),
        (lambda x: x / x.shape[0], "batch size is no number"),
        (lambda x: F.dropout(x), "dropout is on in eval mode"),
        (lambda x: x.double(), "only float32"),
        (lambda x: torch.ones(3), "does not depend on its input"),
        (lambda x: (x, 3), "not a tensor"),
        (lambda x: x.softmax(1, dtype=torch.float64), "dtype"),
        (lambda x: x.max(1)[1].float(), "indices are read"),
        (lambda x: _without_gradients(x) + x, "requires_grad_"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_reason_and_nothing_else(function, sentence, capfd):
    with pytest.raises(CaptureError, match=sentence):
        capture(_lambda(function), torch.randn(2, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "example",
    [
        (),
        torch.tensor(1.0),
        torch.ones(0, 3),
        (torch.ones(2, 3), torch.ones(3, 3)),
    ],
)
def test_an_example_without_a_common_batch_is_refused(example):
    with pytest.raises(CaptureError, match="example"):
        capture(nn.Linear(3, 3), example)


def test_preprocessing_is_kept():
    network = capture(*build("single"), preprocess=ir.Preprocess(scale=0.5, mean=(1.0,)))
    assert network.graph.preprocess == ir.Preprocess(scale=0.5, mean=(1.0,))


def test_a_rebuilt_network_is_captured_again_as_itself():
    model, example = build("residual")
    first = capture(model, example)
    assert capture(first.plain(), example).graph.nodes == first.graph.nodes
    again = capture(first, example, preprocess=ir.Preprocess(crop=8))
    assert again.graph.nodes == first.graph.nodes and again.graph.preprocess == ir.Preprocess(crop=8)
    assert again.layer("conv") is not first.layer("conv") and torch.equal(again(example), first(example))


def test_frozen_parameters_stay_frozen():
    model, example = build("single")
    model.bias.requires_grad_(False)
    network = capture(model, example)
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, False]


def test_errors_are_of_our_family():
    assert issubclass(CaptureError, TersenetError) and issubclass(Network, nn.Module)
