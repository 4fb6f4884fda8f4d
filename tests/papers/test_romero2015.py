"""ResNet-8 taught by ResNet-56: the committed weights have the committed accuracy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, load_weights, network
from tersenet.zoo.data import load

PAPER = Path(__file__).parents[2] / "papers" / "romero2015_fitnets"
EXPECTED = json.loads((PAPER / "expected.json").read_text()) if (PAPER / "expected.json").exists() else {}


@pytest.mark.parametrize("key", EXPECTED)
def test_the_committed_weights_reach_what_the_record_says(key, data_dir):
    expected = EXPECTED[key]
    path = PAPER / "files" / f"resnet8_{'_'.join(key.split())}.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == expected["weights_sha256"]
    data = load("cifar10", data_dir=data_dir, preprocess=ENTRIES["resnet8"].preprocess, parts=("test",))
    found = evaluate(load_weights(network("resnet8"), path), data.test).accuracy
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert 100 * found == pytest.approx(expected["test_accuracy"], abs=0.05)
