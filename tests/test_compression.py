"""The front door: loaders as users have them, a result that can be saved, loaded and reported."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tersenet

RECIPE = tersenet.Recipe.model_validate(
    {
        "name": "short",
        "steps": [
            {"id": "train", "train": {"epochs": 4, "lr": 0.1}},
            {"id": "prune", "keep": 0.3, "train": {"epochs": 2}},
            {"id": "store", "bits": 4, "train": {"epochs": 1, "optimiser": "adam", "lr": 0.001}},
        ],
    }
)


def _loader(n: int, seed: int, shuffle: bool = False) -> DataLoader:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.randn(n, 10, generator=generator) + 3 * nn.functional.one_hot(y, 10)
    return DataLoader(TensorDataset(x, y), batch_size=16, shuffle=shuffle)


def test_loaders_in_file_and_report_out(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = {"train": _loader(160, 0, True), "validate": _loader(60, 1), "test": _loader(60, 2)}
    result = tersenet.compress(model, recipe=RECIPE, **data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    result.save(tmp_path / "a.terse")
    result.report(tmp_path / "a.html")
    assert result.file_bytes == (tmp_path / "a.terse").stat().st_size == tersenet.size(tmp_path / "a.terse").bytes
    assert result.ratio == pytest.approx(4 * (10 * 24 + 24 + 24 * 3 + 3) / result.file_bytes)
    assert "<html" in (tmp_path / "a.html").read_text()
    assert result.record.final["test"]["accuracy"] > 0.8
    again = tersenet.compress(model, recipe=RECIPE, **data)
    assert again.data == result.data


def test_a_metric_of_the_users_takes_the_place_of_accuracy():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 1))

    def closeness(net, loader):
        return -sum(float((net(x).mean() - 1).abs()) for x, _ in loader)

    result = tersenet.compress(model, recipe="share-code", validate=_loader(30, 1), metric=closeness, max_drop=1e6)
    assert "metric" in result.record.final["validate"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "pass data, or example"),
        ({"train": []}, "gave no batch"),
        ({"train": [torch.zeros(2, 10)]}, r"gives \(x, y\) batches"),
    ],
)
def test_how_the_network_is_called_must_be_known(options, sentence):
    with pytest.raises(tersenet.TersenetError, match=sentence):
        tersenet.compress(nn.Linear(10, 2), recipe="share-code", **options)
