"""Neurons that are mostly zero leave, only behind a ReLU, and the answers are those of the silenced network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.recipes import parse
from tersenet.recipes.steps.apoz import Apoz
from tersenet.recipes.steps.base import Situation

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
BATCHES = [(X, torch.zeros(64, dtype=torch.int64))]


def situation(train=BATCHES) -> Situation:
    return Situation(
        stage=0, seed=0, train=train, validate=None, quality=lambda network: 0.0, earlier=lambda steps: None
    )


def network() -> Network:
    """The first layer's neurons 2 and 5 fire almost never; a Tanh is behind the second."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].bias.zero_()
        model[0].bias[[2, 5]] = torch.tensor([-1.5, -1.2])
    return capture(model, X).eval()


def rare(one: Network) -> list[int]:
    with torch.no_grad():
        zeros = (torch.relu(X @ one.dense("0.weight").T + one.dense("0.bias")) == 0).double().mean(0)
    return torch.nonzero(zeros > zeros.mean() + zeros.std(correction=0)).reshape(-1).tolist()


def test_what_is_zero_more_often_than_a_deviation_above_the_mean_leaves():
    before = network()
    assert rare(before) == [2, 5]
    smaller, notes = Apoz(threshold=1).change(before.clone(), situation())
    assert notes == [
        "2 keeps its channels: the score does not reach 2",
        "4 keeps its channels: it reaches the network's output 'output'",
        "0: 2 of 8 channels left the network",
    ]
    silent = before.clone()
    columns = before.dense("2.weight").clone()
    columns[:, [2, 5]] = 0
    silent.set_tensor("2.weight", columns)
    with torch.no_grad():
        torch.testing.assert_close(smaller(X), silent(X), rtol=1e-5, atol=1e-5)


def test_a_share_can_be_kept_and_the_mean_activation_works_behind_anything():
    smaller, _ = Apoz(keep=0.5).change(network(), situation())
    assert smaller.dense("0.weight").shape == (4, 4) and smaller.dense("2.weight").shape == (6, 4)
    smaller, notes = Apoz(keep={"0": 0.75, "*": 0.5}, score="mean").change(network(), situation())
    assert smaller.dense("0.weight").shape == (6, 4) and smaller.dense("2.weight").shape == (3, 6)
    assert len(notes) == 3


def test_no_relu_no_data_and_senseless_settings_are_refused():
    with pytest.raises(
        TersenetError, match="no channel that '2' names can leave. 2 keeps its channels: the score does not"
    ):
        Apoz(where="2", keep=0.5).change(network(), situation())
    with pytest.raises(TersenetError, match="no training data was given"):
        Apoz(keep=0.5).change(network(), situation(None))
    with pytest.raises(TersenetError, match="NaN"):
        Apoz(keep=0.5).change(network(), situation([(X * float("nan"), X)]))
    for text in ("threshold: 1, keep: 0.5", "where: a", "threshold: -1", "keep: 0"):
        with pytest.raises(TersenetError, match="x.yaml: steps"):
            parse(f"steps: [{{id: apoz, {text}}}]", "x.yaml")
