"""DropNeuron's claims, checked from the committed files: what is left of the network, and how often it is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tersenet
from tersenet.methods.dropneuron import connections
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

PAPER = Path(__file__).parents[2] / "papers" / "pan2016_dropneuron"
EXPECTED = json.loads((PAPER / "expected.json").read_text())
FILES = sorted(PAPER.glob("files/*.terse"))


def test_there_are_committed_files_to_check():
    assert "l1_dn-0" in [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_committed_file_holds_the_weights_and_neurons_that_were_counted(path):
    expected = _expected(path)
    assert path.stat().st_size == expected["file_bytes"]
    left = connections(tersenet.load(path))
    assert left["fc1.weight"].weights[0] == expected["fc1_weights"]
    assert left["fc2.weight"].weights[0] == expected["fc2_weights"]
    assert left["fc1.weight"].inputs[0] == expected["inputs"]
    assert left["fc1.weight"].outputs == (expected["hidden"], expected["hidden"])  # those that left take no place


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_committed_file_reaches_the_committed_test_accuracy(path, data_dir):
    entry = ENTRIES["lenet5_tf"]
    test = load(entry.data, data_dir=data_dir, preprocess=entry.preprocess, parts=("test",)).test
    accuracy = 100 * evaluate(tersenet.load(path), test).accuracy
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert accuracy == pytest.approx(_expected(path)["test_accuracy"], abs=0.05)


def _expected(path: Path) -> dict[str, float]:
    row, seed = path.stem.rsplit("-", 1)
    return EXPECTED[row][seed]
