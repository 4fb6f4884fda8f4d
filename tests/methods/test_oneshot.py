"""One-shot rounding: nearer than rounding to nearest, the same bits from the file, and inputs that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.bits import entropy_bits
from tersenet.coding.reference import trellis
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Columns, Dct, Form, Uniform
from tersenet.graph import Network, capture, fold_batchnorm
from tersenet.methods._moments import Moments, by_frequency
from tersenet.methods.oneshot import Rounding, divergence, round_network


class _Net(nn.Module):
    """A plain, a grouped, a residual and a depthwise convolution, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.two, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16)
        self.three = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16)
        self.four, self.five = nn.Linear(16 * 16, 24), nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.one(x)))
        x = torch.relu(self.bn2(self.two(x)) + x)
        x = torch.relu(self.three(x))
        return self.five(torch.relu(self.four(x.flatten(1))))


def _inputs(count: int, seed: int) -> torch.Tensor:
    """Smooth pictures, so that neighbouring columns are correlated."""
    noise = torch.randn(count, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(noise, 3, 1) * 3


@pytest.fixture()
def net() -> Network:
    torch.manual_seed(0)
    model = _Net()
    model.train()
    with torch.no_grad():
        for seed in range(20):  # running statistics that are those of the inputs
            model(_inputs(64, seed))
        for norm in (model.bn1, model.bn2):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        model.five.weight.mul_(6)
    return fold_batchnorm(capture(model.eval(), _inputs(2, 0)))


def _batches(count: int = 256) -> list[tuple[torch.Tensor, ...]]:
    return [(part,) for part in torch.split(_inputs(count, 100), 64)]


def _away(net: Network, rounded: Network) -> float:
    fresh = _inputs(256, 200)
    with torch.no_grad():
        return divergence(net(fresh), rounded(fresh))


def _grid(form: Form) -> Form:
    """What holds the levels."""
    form = form.coefficients if isinstance(form, Dct) else form
    return form.turned if isinstance(form, Columns) else form


def _turned(form: Form) -> Form:
    return form.coefficients if isinstance(form, Dct) else form


def _bits(network: Network) -> float:
    held = [_grid(form) for form in network.forms().values()]
    return sum(
        entropy_bits(form.level.numpy()) for form in held if isinstance(form, Uniform) and form.level.numel() > 24
    )


def test_calibration_brings_the_answers_nearer_at_no_more_bits(net):
    rounded, plain = net.clone(), net.clone()
    round_network(rounded, _batches(), Rounding(quality=43))
    round_network(plain, None, Rounding(quality=54, rate_weight=0.0))
    assert _bits(rounded) <= _bits(plain)
    assert _away(net, rounded) < 0.5 * _away(net, plain)


def test_smooth_kernels_take_fewer_bits_in_their_frequencies(net):
    generator = torch.Generator().manual_seed(3)
    flat = torch.randn(16, 3, 1, 1, generator=generator) + 0.1 * torch.randn(16, 3, 3, 3, generator=generator)
    net.set_tensor("one.weight", 0.3 * flat)
    bits, away = [], []
    for dct in (True, False):
        rounded = net.clone()
        round_network(rounded, _batches(), Rounding(quality=70, dct=dct, uneven=False))
        held = rounded.form("one.weight")
        assert isinstance(held, Dct) == dct
        bits.append(float(entropy_bits(_grid(held).level.numpy())))
        away.append(_away(net, rounded))
    assert bits[0] < 0.8 * bits[1]
    assert away[0] < 1.2 * away[1]


def test_columns_that_meet_more_take_finer_steps_and_the_answers_come_nearer_at_no_more_bytes():
    torch.manual_seed(0)
    loud = torch.logspace(-1, 1, 96)[torch.randperm(96)]
    net = capture(nn.Sequential(nn.Linear(96, 200), nn.ReLU(), nn.Linear(200, 6)), torch.zeros(2, 96)).eval()
    inputs, fresh = (torch.randn(1024, 96) * loud for _ in range(2))
    away, size = {}, {}
    for uneven, quality in ((True, 69), (False, 76)):
        rounded = net.clone()
        round_network(rounded, [(part,) for part in inputs.split(128)], Rounding(quality, uneven=uneven))
        assert isinstance(rounded.form("0.weight"), Columns) == uneven
        size[uneven] = len(artifact.to_bytes(rounded, "range"))
        with torch.no_grad():
            away[uneven] = divergence(net(fresh), rounded(fresh))
    assert size[True] < size[False]
    assert away[True] < away[False]


def test_along_a_trellis_the_answers_come_nearer_at_no_more_bytes_and_the_file_keeps_the_paths():
    torch.manual_seed(0)
    net = capture(nn.Sequential(nn.Linear(96, 256), nn.ReLU(), nn.Linear(256, 6)), torch.zeros(2, 96)).eval()
    inputs, fresh = (torch.randn(1024, 96) for _ in range(2))
    away, size = {}, {}
    for states, quality in ((32, 60), (0, 57)):
        rounded = net.clone()
        round_network(rounded, [(part,) for part in inputs.split(128)], Rounding(quality, trellis=states))
        data = artifact.to_bytes(rounded, "range")
        size[states], back = len(data), artifact.from_contents(decode(data))
        held = back.form("0.weight")
        if states:
            assert all(trellis.follows(5, column, 256, 0) for column in held.turned.level.reshape(96, 256).tolist())
        with torch.no_grad():
            assert torch.equal(back(fresh), rounded(fresh))
            away[states] = divergence(net(fresh), rounded(fresh))
    assert size[32] < size[0]
    assert away[32] < away[0]


def test_short_columns_and_groups_go_without_a_trellis(net):
    plain = net.clone()
    round_network(net, _batches(), Rounding(quality=60, trellis=8))
    round_network(plain, _batches(), Rounding(quality=60))
    along = {name for name, form in net.forms().items() if isinstance(_turned(form), Columns)}
    for layer in net.weighted_layers():
        groups = net.graph.nodes[layer.index].get("groups") if layer.op == "conv2d" else 1
        levels = _grid(net.form(layer.weight)).level
        if groups > 1 or len(net.dense(layer.weight)) < 16:
            assert int(levels.abs().max()) <= 2 * int(_grid(plain.form(layer.weight)).level.abs().max())
        else:
            assert layer.weight in along
            columns = levels.reshape(-1, levels.shape[-1]).tolist()
            assert all(trellis.follows(3, column, len(column), 0) for column in columns)


def test_rows_that_no_scale_follows_take_steps_of_their_own(net):
    with torch.no_grad():  # the next layer hears half of the depthwise channels a hundred times as well
        heard = net.dense("four.weight").reshape(24, 16, 16)
        net.set_tensor("four.weight", (heard * torch.tensor([1.0, 0.01]).repeat(8)[:, None]).reshape(24, 256))
    round_network(net, _batches(), Rounding(quality=60))
    step = net.form("three.weight").coefficients.step
    assert len(step) == 16
    assert float(step[::2].detach().log().mean().exp()) < 0.6 * float(step[1::2].detach().log().mean().exp())


def test_frequencies_of_patches_and_kernels_give_the_same_answers_and_errors():
    generator = torch.Generator().manual_seed(0)
    weight, patches = (torch.randn(n, 2 * 9, generator=generator).double().numpy() for n in (5, 400))
    answers = patches @ weight.T
    met = Moments(
        len(patches),
        patches.mean(0)[None],
        answers.mean(0)[None],
        (patches.T @ patches)[None] / 400,
        (patches.T @ answers)[None] / 400,
    )
    there, kernel = met.by_frequency((3, 3)), by_frequency(weight, (3, 3))
    moved = by_frequency(patches, (3, 3))
    np.testing.assert_allclose(moved @ kernel.T, answers, atol=1e-4)  # its entries are multiples of 2**-20
    np.testing.assert_allclose(there.gram[0], moved.T @ moved / 400, atol=1e-10)
    np.testing.assert_allclose(there.cross[0], moved.T @ answers / 400, atol=1e-10)
    np.testing.assert_allclose(there.inputs[0], moved.mean(0), atol=1e-10)


def test_quality_runs_from_nothing_left_to_nothing_lost(net):
    found = []
    for quality in (0, 40, 60, 100):
        rounded = net.clone()
        round_network(rounded, _batches(128), Rounding(quality=quality))
        found.append((_bits(rounded), -_away(net, rounded)))
    assert found == sorted(found)
    assert found[-1][1] > -1e-3


@pytest.mark.parametrize("data", [True, False])
def test_the_file_answers_with_the_same_bits_and_the_same_seed_gives_the_same_file(net, data):
    files = []
    for _ in range(2):
        rounded = net.clone()
        round_network(rounded, _batches(64) if data else None, Rounding())
        files.append(artifact.to_bytes(rounded, "rans"))
    assert files[0] == files[1]
    loaded = artifact.from_contents(decode(files[0], max_bytes=1 << 24)).eval()
    fresh = _inputs(16, 300)
    with torch.no_grad():
        assert loaded(fresh).numpy().tobytes() == rounded(fresh).numpy().tobytes()


def _mean_of_first_sum(network: Network) -> torch.Tensor:
    """By channel, of what the first scaled and shifted convolution gives."""
    seen: list[torch.Tensor] = []
    add = next(i for i, node in enumerate(network.graph.nodes) if node.op == "add")
    with torch.no_grad():
        network.watch((torch.cat([one for (one,) in _batches()]),), {add: lambda given, out: seen.append(out)})
    return seen[0].mean((0, 2, 3))


def test_channels_keep_their_means(net):
    rounded = net.clone()
    round_network(rounded, _batches(), Rounding(quality=40))
    means = [_mean_of_first_sum(network) for network in (net, rounded)]
    # Places are sampled, and the shift has eight bits.
    assert torch.allclose(*means, atol=0.05)


def test_one_loud_channel_takes_no_precision_from_the_scales_of_others(net):
    scale = net.dense("bn1.scale").clone()
    scale[3] = 300.0
    net.set_tensor("bn1.scale", scale)
    exact, coarse = net.clone(), net.clone()
    for rounded, bits in ((exact, 16), (coarse, 8)):
        round_network(rounded, None, Rounding(quality=90, vector_bits=bits))
    found = [rounded.dense("bn1.scale").detach().flatten() for rounded in (exact, coarse)]
    assert ((found[1] / found[0] - 1).abs() < 0.02).all()


def test_an_all_zero_layer_and_a_dead_input_are_no_trouble(net):
    net.set_tensor("two.weight", torch.zeros_like(net.dense("two.weight")))
    batches = [(one * torch.tensor([1.0, 0.0, 1.0]).reshape(1, 3, 1, 1),) for (one,) in _batches(64)]
    rounded = net.clone()
    round_network(rounded, batches, Rounding())
    assert not rounded.dense("two.weight").any()
    assert bool(torch.isfinite(rounded(_inputs(4, 1))).all())


def test_a_network_of_embeddings_and_norms_is_rounded_without_a_line():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, 20, bias=False))
    tokens = torch.randint(0, 20, (32, 3))
    net = capture(model, tokens[:2])
    net.eval()
    rounded = net.clone()
    round_network(rounded, [(tokens,)], Rounding(quality=90))
    assert isinstance(rounded.form("0.weight"), Uniform)
    with torch.no_grad():
        assert divergence(net(tokens), rounded(tokens)) < 1e-2


def test_an_embedding_that_matters_more_takes_finer_steps():
    torch.manual_seed(0)
    tokens = torch.randint(0, 40, (128, 3))
    steps = []
    for loud in (1.0, 30.0):
        quiet = nn.Linear(8, 8)
        quiet.weight.data /= loud
        model = nn.Sequential(nn.Embedding(40, 8), quiet, nn.Tanh(), nn.Flatten(), nn.Linear(24, 5))
        rounded = capture(model, tokens[:2])
        round_network(rounded, [(tokens,)], Rounding(quality=70))
        embedding = rounded.form("0.weight")
        steps.append(float(embedding.step.detach()) / float(model[0].weight.detach().square().mean().sqrt()))
    assert steps[0] < 0.8 * steps[1]  # the second one's answers hardly hear it


def test_a_matrix_that_is_no_layers_is_rounded_too():
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.end = nn.Parameter(torch.randn(6, 8)), nn.Linear(48, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.end((x + self.places).flatten(1))

    torch.manual_seed(0)
    x = torch.randn(64, 6, 8)
    net = capture(Placed(), x[:2])
    rounded = net.clone()
    round_network(rounded, [(x,)], Rounding(quality=90))
    assert isinstance(rounded.form("places"), Uniform)
    with torch.no_grad():
        assert divergence(net(x), rounded(x)) < 1e-2


def test_what_cannot_calibrate_is_refused_in_a_sentence(net):
    with pytest.raises(TersenetError, match="no inputs to calibrate on"):
        round_network(net.clone(), [], Rounding())
    with pytest.raises(TersenetError, match="holds NaN or infinite values; clean the data"):
        round_network(net.clone(), [(torch.full((4, 3, 8, 8), float("nan")),)], Rounding())
    with pytest.raises(TersenetError, match="0 to 100 can be"):
        round_network(net.clone(), None, Rounding(quality=101))


def test_divergence_is_zero_for_equal_answers_and_counts_values_against_their_spread():
    answers = torch.randn(8, 5)
    assert divergence(answers, answers) == pytest.approx(0, abs=1e-12)
    assert divergence(answers, answers + 7) == pytest.approx(0, abs=1e-6)  # softmax does not see it
    spread = float(answers.double().var(correction=0))
    assert divergence(answers, answers + 1, "values") == pytest.approx(1 / spread, rel=1e-5)
    assert divergence((answers, answers), (answers, answers + 1), "values") == pytest.approx(1 / spread, rel=1e-5)
