"""Deep Compression's claims: what is quick is done again, what is long is checked from the committed files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tersenet
from tersenet.recipes import load_recipe
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

PAPER = Path(__file__).parents[2] / "papers" / "han2016_deep_compression"
EXPECTED = json.loads((PAPER / "expected.json").read_text())
FILES = sorted(PAPER.glob("files/*.terse"))


def _test_split(name: str, data_dir: Path):
    entry = ENTRIES[name]
    return load(entry.data, data_dir=data_dir, preprocess=entry.preprocess, parts=("test",)).test


@pytest.mark.parametrize(
    ("name", "weights", "ratio"),
    [("lenet_300_100", "lenet300100_sparse", 195), ("lenet5", "lenet5_sparse", 360)],
)
def test_published_sparse_networks_shrink_without_training(name, weights, ratio, data_dir, tmp_path):
    model = load_weights(network(name), data_dir / "models" / "lenet-mnist" / f"{weights}.safetensors")
    test = _test_split(name, data_dir)
    recipe = load_recipe("share-code").with_settings(bits={"*": 4})
    result = tersenet.compress(model, recipe=recipe, test=test, preprocess=None)
    result.save(tmp_path / "net.terse")
    original_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert original_bytes / (tmp_path / "net.terse").stat().st_size >= ratio
    before = evaluate(model, test).accuracy
    after = evaluate(tersenet.load(tmp_path / "net.terse"), test).accuracy
    assert before - after <= 0.001


def test_there_are_committed_files_to_check():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_committed_file_reaches_the_committed_test_error(path, data_dir):
    experiment, seed = path.stem.rsplit("-", 1)
    expected = EXPECTED[experiment][seed]
    assert path.stat().st_size == expected["file_bytes"]
    source = next(name for name in ("lenet_300_100", "lenet5", "resnet20") if experiment.startswith(name))
    test = _test_split(source, data_dir)
    torch.manual_seed(0)
    error = 100 * (1 - evaluate(tersenet.load(path), test).accuracy)
    # A few examples lie so near the border that another machine's sums decide them otherwise.
    assert error == pytest.approx(expected["test_error_after"], abs=0.05)
