"""Tucker-2 and SVD on published networks: what was found is consistent, and a part is found again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tersenet.methods.tucker2 import numbers, ranks_by_vbmf
from tersenet.recipes import load_recipe

PAPER = Path(__file__).parents[2] / "papers" / "kim2016_compression_of_deep_cnns"
EXPECTED = json.loads((PAPER / "expected.json").read_text())
LENETS = [name for name in ("lenet_300_100", "lenet5") if name in EXPECTED]
RESNETS = [name for name in ("resnet20", "resnet56") if name in EXPECTED]
WEIGHTS = {"resnet20": "resnet20-12fca82f", "resnet56": "resnet56-4bfd9763"}


def _run():
    spec = importlib.util.spec_from_file_location("kim2016_run", PAPER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", LENETS)
def test_the_covariance_never_makes_it_worse_and_saves_points_where_plain_svd_loses_some(name):
    rows = EXPECTED[name]["rows"]
    assert all(row["covariance"] >= row["plain"] for row in rows)
    lossy = [row for row in rows if 70 < row["plain"] < 97]
    assert lossy and all(row["covariance"] - row["plain"] > 2 for row in lossy)


@pytest.mark.parametrize("name", RESNETS)
def test_committed_ranks_are_those_of_the_published_weights_and_give_the_committed_parameters(name, data_dir):
    row = EXPECTED[name]["rows"]["vbmf"]
    weights = load_file(data_dir / "models" / "cifar10-resnet" / f"{WEIGHTS[name]}.safetensors")
    saved = 0
    for weight, ranks in row["ranks"].items():
        if name == "resnet20":
            assert list(ranks_by_vbmf(weights[weight])) == ranks
        shape = weights[weight].shape
        if all(ranks):
            saved += max(0, shape.numel() - numbers(shape, tuple(ranks)))
    assert row["parameters_before"] - row["parameters_after"] == saved
    assert row["macs_before"] > 4 * row["macs_after"]


@pytest.mark.parametrize("name", RESNETS)
def test_more_energy_is_more_accuracy(name):
    rows = EXPECTED[name]["rows"]
    by_energy = sorted(
        (float(amount), row["test_accuracy_factorised_batchnorm_anew"])
        for amount, row in rows.items()
        if amount != "vbmf"
    )
    assert by_energy == sorted(by_energy, key=lambda pair: pair[1]) and by_energy[-1][1] > 20


def test_the_recipes_train_what_the_runs_say():
    run = _run()
    for path in PAPER.glob("recipes/*.yaml"):
        step = load_recipe(path).steps[0]
        assert path.stem in run.TUCKER and (step.rank == "vbmf") == path.stem.endswith("vbmf")


@pytest.mark.slow
def test_one_row_is_found_again(data_dir, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(data_dir))
    run = _run()
    monkeypatch.setattr(run, "KEEPS", (0.2,))
    (row,) = run.cut(*run.SVD["lenet5"])["rows"]
    expected = next(one for one in EXPECTED["lenet5"]["rows"] if one["keep"] == 0.2)
    assert row["ranks"] == expected["ranks"]
    assert row["covariance"] == pytest.approx(expected["covariance"], abs=0.1)
