"""Fixed against dynamic fixed point: what was found is in the paper's order, and a few steps find it again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "papers" / "courbariaux2014_low_precision"
EXPECTED = json.loads((PAPER / "expected.json").read_text())


def _run():
    spec = importlib.util.spec_from_file_location("courbariaux2014_run", PAPER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dynamic_fixed_point_needs_fewer_bits_for_the_same_accuracy():
    accuracy = EXPECTED["test_accuracy"]

    def fewest(kind):
        return min(bits for bits in _run().BITS if accuracy[f"{kind} {bits}"] >= accuracy["float32"] - 0.5)

    assert fewest("dynamic") < fewest("fixed")
    assert all(accuracy[f"dynamic {bits}"] >= accuracy[f"fixed {bits}"] - 0.5 for bits in _run().BITS)


class _Few:
    def __init__(self, data, n):
        self.data, self.n = data, n

    def __len__(self):
        return self.n

    def batch(self, indices):
        return self.data.batch(indices)


@pytest.mark.slow
def test_an_epoch_of_few_images_tells_them_apart(data_dir, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    run = _run()
    data = run.load("mnist", preprocess=run.ENTRIES[run.NAME].preprocess)

    class Short:
        train, validate, test = _Few(data.train, 10_000), _Few(data.validate, 1000), _Few(data.test, 1000)

    config = run.TRAIN.model_copy(update={"epochs": 1})
    dynamic = run.train(Short, bits=8, dynamic=True, config=config)["test"]
    fixed = run.train(Short, bits=8, exponent=-5, config=config)["test"]
    assert dynamic > fixed + 0.3
