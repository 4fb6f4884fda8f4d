"""One record of what an answer costs: its parts add up, and two networks compare."""

import json

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Sparse
from tersenet.graph import capture
from tersenet.measure import Measurement, Subject, compare, measure
from tersenet.measure.activations import ActivationMemory
from tersenet.measure.memory import Caches
from tersenet.measure.operations import LayerOperations, Operations

SMALL = Caches(l1_bytes=1 << 10, l2_bytes=1 << 20)


class Hard(nn.Module):
    """Whole numbers in, two outputs, one layer used twice."""

    def __init__(self):
        super().__init__()
        self.embed, self.twice, self.norm = nn.Embedding(50, 8), nn.Linear(8, 8), nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.norm(self.twice(torch.relu(self.twice(self.embed(x)))))
        return self.head(h), h.mean(1)


TOKENS = (torch.zeros(2, 5, dtype=torch.int64),)


def hard():
    torch.manual_seed(0)
    return capture(Hard(), TOKENS)


def held_in_forms():
    network = hard()
    network.attach("twice.weight", Sparse.fit(network.dense("twice.weight").clone().fill_diagonal_(0)))
    network.attach("head.weight", Codebook.fit(network.dense("head.weight"), k=4))
    return network


def imagined(parameters, caches, rate_hz=20.0):
    """A network too large to build: one layer of so many float32 weights."""
    layer = LayerOperations(
        name="fc",
        weights=parameters,
        nonzeros=parameters,
        biases=0,
        macs_dense=parameters,
        weight_bytes=4 * parameters,
    )
    return Measurement(
        operations=Operations(layers=(layer,)),
        activations=ActivationMemory(peak_bytes=0, peak_layer="fc"),
        dense_bytes=4 * parameters,
        caches=caches,
        latency={},
        rate_hz=rate_hz,
    )


def test_a_billion_connections_that_no_cache_holds_are_12_8_watts_to_read_and_a_tenth_to_multiply():
    got = imagined(10**9, SMALL)
    assert got.fits is None and not got.energy.from_cache
    assert got.power_w == pytest.approx(12.8 + 20 * 4.6e-12 * 10**9)
    assert got.to_dict()["read_from"] == "DRAM"
    assert imagined(10**9, SMALL, rate_hz=40).power_w == pytest.approx(2 * got.power_w)


def test_whether_all_weights_fit_decides_where_each_is_read():
    fits, misses = imagined(1 << 18, SMALL), imagined((1 << 18) + 1, SMALL)
    assert (fits.fits, misses.fits) == ("L2", None)
    assert misses.energy.memory_uj / fits.energy.memory_uj == pytest.approx(128, rel=1e-4)
    unknown = imagined(1, Caches()).to_dict()
    assert unknown["fits"] is None and unknown["read_from"] == "DRAM" and set(unknown["caches"].values()) == {None}


@pytest.mark.parametrize("make", [Hard, hard, held_in_forms], ids=["module", "network", "forms"])
def test_layers_add_up_to_the_totals(make):
    model = make()
    got = measure(model, TOKENS, on_chip=SMALL).to_dict()
    dense = Hard()
    assert got["parameters"] == sum(one.numel() for one in dense.parameters())
    assert got["dense_bytes"] == got["weight_bytes"] == 4 * got["parameters"]
    for key in ("parameters", "weights", "nonzeros", "macs_dense", "weight_bytes"):
        assert sum(layer[key] for layer in got["layers"]) == got[key], key
    for key in ("macs_effective", "energy_uj"):
        assert sum(layer[key] for layer in got["layers"]) == pytest.approx(got[key]), key
    assert got["energy_uj"] == pytest.approx(got["arithmetic_uj"] + got["memory_uj"])
    assert got["macs_dense"] == 5 * (2 * 64 + 24)
    assert got["batch"] == 2
    latency = got["latency"]["torch"]
    assert latency["frames_per_s"] == pytest.approx(2000 / latency["median_ms"])
    assert json.loads(json.dumps(got)) == got


def test_a_file_is_measured_as_our_runtime_holds_it():
    network = held_in_forms()
    data = artifact.to_bytes(network)
    got = measure(network, TOKENS, file=data, on_chip=SMALL)
    assert got.runs_in == "tersenet" and got.refused is None and got.file_bytes == len(data)
    assert set(got.latency) == {"torch", "tersenet"}
    assert got.weight_bytes == sum(layer.weight_bytes for layer in got.operations) != got.dense_bytes
    assert got.operations["twice"].nonzeros == 56 and got.operations["head"].nonzeros == 24
    assert network.form("head.weight") is not None, "the network keeps its forms"


def test_a_file_that_our_runtime_refuses_is_measured_in_torch():
    network = hard()
    data = artifact.to_bytes(network)
    cut = measure(network, TOKENS, file=data[:-1])
    assert cut.runs_in == "torch" and "file" in cut.refused and set(cut.latency) == {"torch"}
    assert cut.weight_bytes == cut.dense_bytes


def test_two_networks_are_compared_number_by_number():
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    thin = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    inputs = (torch.zeros(1, 64),)
    got = compare(Subject(model=wide, inputs=inputs), Subject(model=thin, inputs=inputs), on_chip=SMALL)
    ratios = got.ratios()
    assert ratios["macs_dense"] == (64 * 64 + 64 * 4) / (64 * 16 + 16 * 4) == ratios["macs_effective"] == 4
    assert ratios["file_bytes"] is None and ratios["latency_ms"] > 0
    assert got.to_dict() == {"before": got.before.to_dict(), "after": got.after.to_dict(), "ratios": ratios}


def test_a_network_that_multiplies_nothing_costs_no_energy():
    inputs = (torch.zeros(3, 7),)
    got = compare(Subject(model=nn.ReLU(), inputs=inputs), Subject(model=nn.Linear(7, 7), inputs=inputs))
    assert got.before.energy.energy_uj == got.before.weight_bytes == 0 and got.before.operations.layers == ()
    assert got.ratios()["macs_dense"] is got.ratios()["weight_bytes"] is None


def test_densities_are_given_by_outputs_or_measured_at_inputs():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    inputs = (torch.zeros(1, 4),)
    given = measure(net, inputs, activation_density={"0": 0.25})
    assert [layer.input_density for layer in given.operations] == [1.0, 0.25]
    measured = measure(net, inputs, batches=[(torch.tensor([[1.0, 0.0, 0.0, 0.0]]),)])
    assert measured.operations["0"].input_density == 0.25


@pytest.mark.parametrize("rate_hz", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate_hz):
    with pytest.raises(TersenetError, match="inferences a second; expected more than 0"):
        measure(nn.Linear(2, 2), (torch.zeros(1, 2),), rate_hz=rate_hz)


@pytest.mark.parametrize("inputs", [(), (torch.zeros(0, 2),), (torch.tensor(1.0),)], ids=["none", "empty", "scalar"])
def test_inputs_without_an_example_are_refused(inputs):
    with pytest.raises(TersenetError, match="inputs without an example"):
        measure(nn.Linear(2, 2), inputs)


def test_a_network_elsewhere_is_refused():
    with pytest.raises(TersenetError, match="on meta; move them to the CPU"):
        measure(nn.Linear(2, 2, device="meta"), (torch.zeros(1, 2),))


def test_measuring_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    measure(net, (torch.randn(5, 4),), batches=[(torch.randn(5, 4),)])
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
