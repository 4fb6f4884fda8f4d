"""Han et al. 2015, figure 6: the claim stands on the committed numbers, and a few of them are measured again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tersenet
from tersenet.search import sensitivity
from tersenet.zoo import entry, example_inputs, load_weights, network
from tersenet.zoo.data import load

PAPER = Path(__file__).parents[2] / "papers" / "han2015_sensitivity"
EXPECTED = json.loads((PAPER / "expected.json").read_text())


def test_every_network_that_was_measured_has_its_numbers_and_its_figure():
    assert "lenet5" in EXPECTED
    for name, found in EXPECTED.items():
        svg = (PAPER / f"{name}.svg").read_text()
        for layer, accuracies in found["accuracy"].items():
            assert f">{layer}</text>" in svg
            lost = [found["original"] - one for one in accuracies]
            assert sum(lost) / len(lost) == pytest.approx(found["mean_lost_points"][layer], abs=0.02)


def test_lenet5_s_convolutions_lose_more_than_its_fully_connected_layers_and_the_first_most():
    lost = EXPECTED["lenet5"]["mean_lost_points"]
    convolutions, connected = (lost["conv1"] + lost["conv2"]) / 2, (lost["ip1"] + lost["ip2"]) / 2
    assert convolutions > 2 * connected
    assert lost["conv1"] == max(lost.values()) and lost["ip1"] == min(lost.values())


def test_lenet5_s_numbers_come_again(data_dir):
    known = entry("lenet5")
    model = load_weights(network("lenet5"), data_dir / "models" / "lenet-mnist" / "lenet5_original.safetensors")
    data = load(known.data, data_dir=data_dir, preprocess=known.preprocess, parts=("test",))
    network_ = tersenet.capture(model.eval(), example_inputs("lenet5", 2))
    found = sensitivity(network_, data.test, methods=("prune",), levels=(0.05,), where="conv1")
    expected = EXPECTED["lenet5"]
    at = expected["levels"].index(0.05)
    for point in found.points:
        # A few examples lie so near the border that another machine's sums decide them otherwise.
        assert 100 * point.quality == pytest.approx(expected["accuracy"][point.name][at], abs=0.05)
