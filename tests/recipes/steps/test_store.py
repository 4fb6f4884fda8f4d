"""The step store with calibration: what it asks for, what it says, and what lasts to the file."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.recipes import Recipe, Task, run
from tersenet.recipes.steps import StoreCodebook

NOTHING = float("nan")


class Blobs:
    """Points of three classes; a split as the zoo has them, whose labels nobody may read."""

    def __init__(self, n: int) -> None:
        self.x = torch.randn(n, 12, generator=torch.Generator().manual_seed(0)) @ torch.randn(
            12, 12, generator=torch.Generator().manual_seed(1)
        )

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices):
        return self.x[indices], torch.full((len(indices),), NOTHING)


def _network():
    torch.manual_seed(0)
    return capture(
        nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)), torch.zeros(2, 12)
    )


def _run(tmp_path, *steps, train):
    recipe = Recipe.model_validate({"name": "x", "steps": steps, "coder": "rans"})
    data, record = run(_network(), Task(recipe=recipe, run_dir=tmp_path, train=train))
    return artifact.from_contents(decode(data, max_bytes=1 << 24)), record


def test_calibrated_values_last_to_the_file_and_answer_nearer(tmp_path):
    train = Blobs(200)
    step = {"id": "store", "bits": 2, "init": "optimum"}
    with torch.no_grad():
        wanted = _network().eval()(train.x)
        away = {}
        for calibrate in (0, 200):
            network, _ = _run(tmp_path / str(calibrate), step | {"calibrate": calibrate}, train=train)
            assert all(len(network.dense(name).unique()) <= 4 for name in ("0.weight", "3.weight"))
            away[calibrate] = float((network.eval()(train.x) - wanted).square().mean())
    assert away[200] < 0.7 * away[0]


def test_fewer_inputs_than_asked_for_are_said(tmp_path):
    _, record = _run(tmp_path / "few", {"id": "store", "calibrate": 256}, train=Blobs(40))
    notes = record.stages[0]["notes"]
    assert notes[-1] == "calibrated on 40 inputs, not 256: the training data has no more"
    _, record = _run(tmp_path / "all", {"id": "store", "calibrate": 40}, train=Blobs(40))
    assert not any("calibrated on" in note for note in record.stages[0]["notes"])


def test_where_names_the_layers_that_are_calibrated(tmp_path):
    network, _ = _run(tmp_path, {"id": "store", "where": "last", "bits": 1, "calibrate": 64}, train=Blobs(64))
    assert torch.equal(network.dense("0.weight"), _network().dense("0.weight"))
    assert len(network.dense("3.weight").unique()) == 2


def test_data_are_asked_for_have_to_fit_and_may_not_hold_nan(tmp_path):
    with pytest.raises(TersenetError, match="needs training data"):
        _run(tmp_path / "none", {"id": "store", "calibrate": 8}, train=None)
    bad = Blobs(40)
    bad.x[3, 4] = torch.nan
    with pytest.raises(TersenetError, match="NaN or infinite"):
        _run(tmp_path / "nan", {"id": "store", "calibrate": 40}, train=bad)
    with pytest.raises(TersenetError, match="the data is empty"):
        _run(tmp_path / "empty", {"id": "store", "calibrate": 40}, train=Blobs(0))


@pytest.mark.parametrize("settings", [{"calibrate": -1}, {"calibrate": 1.5}, {"damping": 0}, {"batch_size": 1}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValidationError):
        StoreCodebook(**settings)
