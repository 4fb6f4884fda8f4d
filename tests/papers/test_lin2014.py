"""Global average pooling's claims, checked from the committed files: parameters, accuracy, other sizes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

import tersenet
from tersenet import runtime
from tersenet.zoo import entry, load

PAPER = Path(__file__).parents[2] / "papers" / "lin2014_network_in_network"
EXPECTED = json.loads((PAPER / "expected.json").read_text())
FILES = sorted(PAPER.glob("files/*.terse"))
SPEC = importlib.util.spec_from_file_location("lin2014_run", PAPER / "run.py")
RUN = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RUN)


def test_there_is_a_committed_file_for_each_seed():
    assert [path.stem for path in FILES] == [f"lenet5-{seed}" for seed in sorted(EXPECTED)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_has_a_tenth_of_the_parameters_and_runs_at_both_sizes(path):
    network = tersenet.load(path).eval()
    expected = EXPECTED[path.stem.rsplit("-")[1]]
    assert path.stat().st_size == expected["file_bytes"]
    assert RUN.parameters(network) == expected["parameters"] <= expected["parameters_before"] / 10
    for side in (28, RUN.SIDE):
        x = torch.rand(2, 1, side, side)
        with torch.no_grad():
            answers = network(x)
        found = runtime.open(path, threads=1, shapes=[(1, side, side)])(x.numpy())
        assert abs(found - answers.numpy()).max() <= 1e-5 * abs(answers).max()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_reaches_the_committed_test_accuracies(path, data_dir):
    test = load("mnist", data_dir=data_dir, preprocess=entry(RUN.NAME).preprocess, parts=("test",)).test
    expected = EXPECTED[path.stem.rsplit("-")[1]]["test_accuracy"]
    network = tersenet.load(path)
    for size, change in RUN.SIZES.items():
        # A few examples lie so near the border that another machine's sums decide them otherwise.
        assert 100 * RUN.score(network, test, change) == pytest.approx(expected[size], abs=0.05)
