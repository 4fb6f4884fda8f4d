"""tersenet measure: a record with stable keys, a table to read, and refusals in a sentence."""

from __future__ import annotations

import pytest

OWN = """\
import torch
from torch import nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.one, self.two = nn.Embedding(50, 8), nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, x):
        h = self.embed(x)
        return self.one(h), self.two(h.mean(1))


def nothing():
    return nn.ReLU()
"""

KEYS = {
    "source", "batch", "rate_hz", "parameters", "weights", "nonzeros", "macs_dense", "macs_effective", "flops_dense",
    "flops_effective", "activation_peak_bytes", "activation_peak_layer", "file_bytes", "dense_bytes", "weight_bytes",
    "runs_in", "refused", "caches", "fits", "read_from", "arithmetic_uj", "memory_uj", "energy_uj", "power_w", "latency",
    "layers",
}  # fmt: skip
LAYER_KEYS = {
    "name", "parameters", "weights", "nonzeros", "biases", "weight_density", "macs_dense", "macs_effective",
    "flops_dense", "flops_effective", "input_density", "weight_bytes", "energy_uj",
}  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "nets.py"
    path.write_text(OWN)
    return path


def test_the_keys_of_the_record_stay(tersenet):
    record = tersenet("measure", "lenet_300_100", "--rate", 50, "--batch", 2, "--json").record
    assert set(record) == KEYS
    assert all(set(layer) == LAYER_KEYS for layer in record["layers"])
    assert (record["parameters"], record["macs_dense"], record["batch"]) == (266_610, 266_200, 2)
    assert record["power_w"] == pytest.approx(record["energy_uj"] * 50e-6)
    assert set(record["latency"]["torch"]) == {"median_ms", "min_ms", "spread", "repeats", "frames_per_s"}


def test_a_file_stands_beside_what_it_was_made_from(tersenet, shelf):
    words = ["measure", shelf.terse, "--against", "linear", "--weights", shelf.weights]
    record = tersenet(*words, "--json").record
    assert set(record) == {"source", "against", "before", "after", "ratios"}
    before, after = record["before"], record["after"]
    assert (before["nonzeros"], before["file_bytes"], before["runs_in"]) == (7840, None, "torch")
    assert after["file_bytes"] == shelf.terse.stat().st_size and after["runs_in"] == "tersenet"
    assert record["ratios"]["nonzeros"] == before["nonzeros"] / after["nonzeros"] == pytest.approx(2, rel=0.01)
    text = tersenet(*words).out
    assert f"before  linear\nafter   {shelf.terse}\n" in text
    assert "MACs, effective" in text and "2.00x" in text and "latency, tersenet" in text


def test_with_data_the_zeros_of_inputs_are_measured(tersenet):
    [layer] = tersenet("measure", "linear", "--data", "digits28", "--json").record["layers"]
    assert 0.1 < layer["input_density"] < 0.9
    assert layer["macs_effective"] == pytest.approx(7840 * layer["input_density"])
    assert f"{100 * layer['input_density']:.1f} %" in tersenet("measure", "linear", "--data", "digits28").out


def test_a_network_of_the_users_with_whole_numbers_and_two_outputs(tersenet, own):
    record = tersenet("measure", f"{own}:Two", "--input", "7:int64", "--json").record
    assert {layer["name"]: layer["macs_dense"] for layer in record["layers"]} == {"one": 7 * 24, "two": 16, "embed": 0}


def test_a_network_that_multiplies_nothing_says_so(tersenet, own):
    ran = tersenet("measure", f"{own}:nothing", "--input", "3")
    assert ran.code == 0 and "no layer multiplies" in ran.out


def test_caches_that_the_system_does_not_tell_are_unknown(tersenet, monkeypatch):
    from tersenet.measure import measurement
    from tersenet.measure.memory import Caches

    monkeypatch.setattr(measurement, "caches", lambda: Caches())
    ran = tersenet("measure", "linear")
    assert "caches: unknown, so weights are counted as read from DRAM" in ran.out and "from DRAM" in ran.out
    record = tersenet("measure", "linear", "--json").record
    assert record["caches"] == {"l1_bytes": None, "l2_bytes": None, "l3_bytes": None} and record["fits"] is None


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_a_rate_that_is_none_is_refused(tersenet, rate):
    assert "answers a second; expected more than 0" in tersenet("measure", "linear", "--rate", rate).refused(2)


def test_what_cannot_be_called_is_refused(tersenet, own):
    assert "give --input" in tersenet("measure", f"{own}:Two").refused(2)
    assert "raised RuntimeError" in tersenet("measure", f"{own}:Two", "--input", "7").refused()
    said = tersenet("measure", "linear", "--data", "digits28", "--against", "resnet8").refused()
    assert "does not take the inputs" in said
