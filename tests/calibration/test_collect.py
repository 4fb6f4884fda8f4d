"""Streamed statistics are those of the whole data, and X is really what the weight meets."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tersenet import zoo
from tersenet.calibration import collect
from tersenet.calibration.collect import rows_of
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture

CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3), (4, 7, 6)),
    "strided": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)), (4, 9, 8)),
    "grouped": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), (4, 5, 5)),
    "pointwise": (nn.Conv2d(4, 3, 1), (4, 2, 2)),
    "line": (nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (4, 9)),
    "linear": (nn.Linear(4, 3), (5, 4)),
}


def build(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(10, *shape)
    return capture(layer.eval(), x), x


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_rows_times_the_weight_are_the_output(name):
    layer, shape = CONVOLUTIONS[name]
    network, x = build(layer, shape)
    node = network.graph.nodes[network.weighted_layers()[0].index]
    rows = rows_of(node, tuple(layer.weight.shape[2:]), x)
    weight = layer.weight.flatten(1).reshape(len(rows), -1, rows.shape[2])
    result = torch.einsum("grf,gof->rgo", rows, weight).flatten(1) + layer.bias
    expected = layer(x)
    expected = expected.reshape(-1, 3) if name == "linear" else expected.movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_streamed_sums_are_those_of_all_rows_at_once(name):
    layer, shape = CONVOLUTIONS[name]
    network, x = build(layer, shape)
    found = collect(network, x.split(3))  # the last batch has one example
    (stats,) = found.values()
    node = network.graph.nodes[network.weighted_layers()[0].index]
    rows = rows_of(node, tuple(layer.weight.shape[2:]), x).double()
    assert stats.count == rows.shape[1]
    torch.testing.assert_close(stats.gram, rows.transpose(1, 2) @ rows, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(stats.second_moment, stats.gram / rows.shape[1])
    torch.testing.assert_close(stats.input_mean, rows.mean(1), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(stats.input_norm, rows.norm(dim=1), rtol=1e-5, atol=1e-5)
    assert torch.equal(stats.input_min.double(), rows.amin(1)) and torch.equal(stats.input_max.double(), rows.amax(1))
    with torch.no_grad():
        y = network(x)
    y = (y.reshape(-1, 3) if name == "linear" else y.movedim(1, -1).flatten(0, -2)).double()
    assert stats.output_count == len(y)
    torch.testing.assert_close(stats.output_mean, y.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(stats.output_var, y.var(0, unbiased=False), rtol=1e-6, atol=1e-6)


def test_a_transposed_convolution_meets_positions():
    layer = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
    network, x = build(layer, (4, 5, 5))
    (stats,) = collect(network, [x]).values()
    rows = x.movedim(1, -1).reshape(-1, 2, 2).movedim(1, 0).double()
    assert stats.count == 250
    torch.testing.assert_close(stats.gram, rows.transpose(1, 2) @ rows, rtol=1e-5, atol=1e-5)


def test_a_large_offset_does_not_ruin_the_variance():
    network, x = build(nn.Linear(4, 3), (4,))
    network.set_tensor("bias", torch.full((3,), 1e4))
    (stats,) = collect(network, x.split(2)).values()
    with torch.no_grad():
        torch.testing.assert_close(stats.output_var, network(x).double().var(0, unbiased=False), rtol=1e-9, atol=1e-12)


def test_inner_layers_see_what_reaches_them():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    x = torch.randn(9, 5)
    network = capture(model, x).train()
    found = collect(network, [(x[:4], torch.zeros(4)), (x[4:], torch.ones(5))])
    assert list(found) == ["0", "3"] and network.training
    hidden = F.relu(model[0](x)).double()
    torch.testing.assert_close(found["3"].gram[0], hidden.T @ hidden, rtol=1e-5, atol=1e-6)
    assert (found["3"].input_min >= 0).all()


def test_a_form_is_computed_once_for_all_batches():
    class Form(nn.Module):
        calls = 0

        def forward(self) -> Tensor:
            Form.calls += 1
            return torch.ones(3, 4)

    network, x = build(nn.Linear(4, 3), (4,))
    network.attach("weight", Form())
    Form.calls = 0
    (stats,) = collect(network, x.split(2)).values()
    assert Form.calls == 1
    with torch.no_grad():
        torch.testing.assert_close(stats.output_mean, network(x).double().mean(0))


def test_a_shared_weight_gathers_both_uses_and_embeddings_are_left_out():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mid = nn.Embedding(7, 4), nn.Linear(4, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            return F.linear(self.mid(self.mid(self.embed(tokens))), self.embed.weight)

    tokens = torch.randint(7, (5, 3))
    found = collect(capture(Shared().eval(), tokens), [tokens])
    assert list(found) == ["mid", "embed"] and found["mid"].count == 30 and found["embed"].op == "linear"


def test_several_inputs_are_taken_from_the_front_of_a_batch():
    network = capture(zoo.network("silero_vad"), zoo.example_inputs("silero_vad"))
    found = collect(network, [zoo.example_inputs("silero_vad", 2, seed) for seed in range(2)], ["conv1"])
    assert list(found) == ["conv1"] and found["conv1"].gram.shape == (1, 387, 387)


def test_only_named_layers_and_only_what_is_asked_for():
    network, x = build(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), (4,))
    found = collect(network, [x], ["1"], second_moments=False)
    assert list(found) == ["1"] and found["1"].gram is None
    with pytest.raises(TersenetError, match="no layer 2 to collect; there are 0, 1"):
        collect(network, [x], ["2"])


def test_memory_is_refused_before_it_is_taken():
    network, x = build(nn.Linear(4, 3), (4,))
    with pytest.raises(TersenetError, match=r"take 272 bytes, the limit is 200.*second_moments=False"):
        collect(network, [x], limit_bytes=200)
    assert collect(network, [x], limit_bytes=272)


NAN = torch.randn(3, 4)
NAN[1, 2] = float("nan")


@pytest.mark.parametrize(
    "batches, sentence",
    [
        ([], "empty"),
        ([torch.zeros(0, 4)], "empty"),
        ([torch.ones(2, 4), NAN], "batch 1: input 'input' holds NaN"),
        ([NAN / 0], "NaN or infinite"),
        ([torch.ones(2, 5)], r"shape \(batch, 5\); expected \(batch, 4\)"),
        ([3], "batch 0 is a int"),
        ([("x", "y")], "batch 0 is a tuple"),
    ],
)
def test_bad_data_is_refused_and_modes_come_back(batches, sentence):
    network, _ = build(nn.Linear(4, 3), (4,))
    network.train()
    with pytest.raises(TersenetError, match=sentence):
        collect(network, batches)
    assert network.training


def test_a_layer_that_overflows_is_named():
    network, x = build(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), (4,))
    network.set_tensor("0.weight", torch.full((3, 4), 3e38))
    with pytest.raises(TersenetError, match="layer '0' meets or gives NaN or infinite"):
        collect(network, [x.abs() + 1])
