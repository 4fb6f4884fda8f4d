"""One-shot rounding: the committed files are what the committed record says, and the bound is a bound."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import tersenet
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load

PAPER = Path(__file__).parents[2] / "papers" / "conzelmann2025_cerwu"
EXPECTED = json.loads((PAPER / "expected.json").read_text())
FILES = sorted(PAPER.glob("files/*.terse"))


def _module(name: str):
    spec = importlib.util.spec_from_file_location(f"conzelmann2025_{name}", PAPER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN, GAUSSIAN = _module("run"), _module("gaussian")


def test_every_cifar_network_of_the_record_has_its_file():
    assert {path.stem for path in FILES} == set(RUN.KEPT) & set(EXPECTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_has_the_committed_size_and_reaches_the_committed_accuracy(path, data_dir):
    row = EXPECTED[path.stem]["rows"][f"oneshot {RUN.KEPT[path.stem]:g}"]
    network = tersenet.load(path)
    assert path.stat().st_size == row["bytes"]
    assert 8 * row["bytes"] / RUN.weights_of(network) == pytest.approx(row["bits_a_weight"], abs=1e-3)
    test = load("cifar10", data_dir=data_dir, preprocess=ENTRIES[path.stem].preprocess, parts=("test",)).test
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert 100 * evaluate(network, test).accuracy == pytest.approx(row[RUN.POINTS], abs=0.05)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name in RUN.SUBJECTS])
def test_one_shot_is_above_nearest_values_of_no_fewer_bytes(name):
    """At about the same size, or a smaller one, what is lost is at most half."""
    subject, found = RUN.SUBJECTS[name], EXPECTED[name]
    rows = [(key.split()[0], one["bytes"], RUN.lost(subject, found["dense"][subject.score], one[subject.score]))
            for key, one in found["rows"].items()]  # fmt: skip
    for _, size, gone in (one for one in rows if one[0] == "nearest"):
        smaller = [one for one in rows if one[0] == "oneshot" and one[1] <= size]
        assert not smaller or min(one[2] for one in smaller) <= max(gone / 2, 0.2)


def test_equal_variances_have_the_bound_of_a_gaussian_source():
    # R(D) = log2(1 / D) / 2 of unit variance.
    for distortion in (0.01, 0.25, 0.9):
        assert GAUSSIAN.bound_bits(np.eye(8), distortion) == pytest.approx(-0.5 * np.log2(distortion), abs=1e-6)


def test_a_component_below_the_water_level_gets_no_bits():
    variances = np.diag([4.0, 0.01])
    # Water level 0.5: D = (0.5 + 0.01) / 2, R = (log2(8) / 2 + 0) / 2.
    assert GAUSSIAN.bound_bits(variances, 0.255) == pytest.approx(0.75, abs=1e-6)


def test_no_rounding_is_below_the_bound():
    weight, hessian = GAUSSIAN.problem(1)
    for step, price, pull, by_column, states in (
        (0.5, 0.0, 0.0, False, 0),
        (1.5, 0.06, 0.0, True, 0),
        (0.5, 0.0, 0.0, False, 256),
        (1.5, 0.06, 0.0, True, 32),
        (1.5, 0.0, 0.05, True, 256),
    ):
        bits, distortion = GAUSSIAN.coded(weight[:64], hessian, step, price, 0.03, pull, by_column, states)
        assert bits > GAUSSIAN.bound_bits(hessian, distortion)
