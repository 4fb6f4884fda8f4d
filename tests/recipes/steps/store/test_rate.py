"""The form rate as a step: a price buys bytes, what is on a grid stays on it, and an interrupted run goes on."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from blobs import Blobs
from pydantic import ValidationError
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Dct
from tersenet.forms._order import one_step
from tersenet.graph import capture
from tersenet.recipes import Recipe, Task, run
from tersenet.recipes.steps.store import StoreRate
from tersenet.runtime import open_bytes

TRAIN = {"epochs": 4, "batch_size": 16, "optimiser": "adam", "lr": 0.01}


@cache
def _captured():
    torch.manual_seed(0)
    layers = nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)
    return capture(nn.Sequential(*layers), torch.zeros(2, 12))


def _run(folder, *steps, on_event=None, network=None):
    recipe = Recipe.model_validate({"name": "x", "steps": steps, "coder": "range"})
    data = Blobs()
    task = Task(recipe=recipe, run_dir=folder, train=data, validate=data, provenance=False)
    written, record = run(network or _captured().clone(), task, on_event)
    return written, artifact.from_contents(decode(written)), record


def _rate(**options):
    return {"id": "store", "form": "rate", "train": TRAIN} | options


def test_a_higher_price_buys_fewer_bytes_and_the_file_answers_as_the_network_does(tmp_path):
    sizes = []
    for rate in (0.01, 0.3, 3):
        data, network, record = _run(tmp_path / str(rate), _rate(rate=rate))
        sizes.append(len(data))
        x = Blobs().x
        answers = open_bytes(data)(x.numpy())
        torch.testing.assert_close(torch.from_numpy(answers), network.eval()(x), rtol=1e-5, atol=1e-5)
        assert record.final["validate"]["accuracy"] == record.stages[0]["validate"]["accuracy"]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3


@pytest.mark.parametrize("target", [90, 160])
def test_the_price_leads_to_the_target_and_is_told(target, tmp_path):
    train = TRAIN | {"epochs": 40}
    data, _, record = _run(tmp_path, _rate(rate=0.01, target=target, warmup=0.5, step=0.1, train=train))
    coded = sum(row.size_bytes for row in decode(data).ledger if row.role == "levels")
    # What leads there is an estimate, which does not know that each stream begins and ends with whole bytes.
    assert 0.7 * target < coded < 1.3 * target + 24
    assert record.stages[0]["notes"][0].startswith("the price of a bit went from 0.01 to ")


def test_a_target_has_a_quality_and_a_gentler_one():
    step = StoreRate(**_rate(target=1000))
    assert step.at_quality(50).target == 1000 and step.at_quality(60).target == 2000
    assert step.gentler().target == 2000 and step.gentler().rate == step.rate


@pytest.mark.parametrize("vectors", [True, False])
def test_biases_and_normalisation_are_on_a_grid_too_in_the_file_as_well(vectors, tmp_path):
    _, network, _ = _run(tmp_path, _rate(rate=0.01, vectors=vectors))
    weights = {"0.weight", "3.weight", "5.weight"}
    vector = {"0.bias", "1.weight", "1.bias", "3.bias", "5.bias"}
    assert set(network.forms()) == (weights | vector if vectors else weights)
    assert all(one_step(form) is not None for form in network.forms().values())


def test_a_second_step_goes_on_from_the_grid_it_finds(tmp_path):
    steps = []
    for number in (1, 2):
        second = _rate(rate=1e-6, warmup=0, train=TRAIN | {"epochs": 1, "lr": 1e-9})
        _, network, _ = _run(tmp_path / str(number), *[_rate(rate=0.1), second][:number])
        steps.append(network.form("0.weight"))
    assert torch.equal(steps[0].step, steps[1].step)
    assert torch.equal(steps[0].level, steps[1].level)


def test_units_that_the_price_has_emptied_leave_and_the_rest_stays_on_its_grid(tmp_path):
    _, network, record = _run(tmp_path, _rate(rate=10), {"id": "remove_dead"})
    assert len(network.dense("3.weight")) < 8 or len(network.dense("0.weight")) < 16
    assert all(one_step(network.form(name)) is not None for name in ("0.weight", "3.weight", "5.weight"))
    before, after = (stage["validate"] for stage in record.stages)
    assert before["accuracy"] == after["accuracy"]
    assert before["loss"] == pytest.approx(after["loss"], rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"target": 80}], ids=["price", "target"])
def test_an_interrupted_run_ends_in_the_same_bytes(options, tmp_path):
    whole, _, _ = _run(tmp_path / "whole", _rate(**options))

    def stop(event):
        if event.get("stage") == "validate" and event["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "stopped", _rate(**options), on_event=stop)
    assert any(tmp_path.glob("stopped/*.ckpt*"))
    again, _, _ = _run(tmp_path / "stopped", _rate(**options))
    assert again == whole


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"train": TRAIN | {"epochs": 0}}, "made by training"),
        ({"calibrate": 64}, "drop calibrate"),
        ({"rate": 0}, "greater than 0"),
        ({"train": TRAIN | {"regularise": {"rate": 1.0}}}, "those of its training"),
        ({"warmup": 1}, "less than 1"),
        ({"target": 0}, "greater than 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        StoreRate.model_validate(_rate(**options))


def test_a_constant_weight_is_refused(tmp_path):
    network = _captured().clone()
    network.set_tensor("3.weight", torch.ones(8, 16))
    with pytest.raises(TersenetError, match=r"every weight of '3.weight' is 1"):
        _run(tmp_path, _rate(), network=network)


def test_factors_and_shifts_of_a_folded_normalisation_are_on_a_grid_too(tmp_path):
    short = _rate(vectors=False, rate=0.1), {"id": "fold_batchnorm"}, _rate(rate=0.01, step=0.1, warmup=0)
    _, network, _ = _run(tmp_path, *short)
    folded = [name for name in network.graph.parameters if name.startswith("1.")]
    assert folded and all(one_step(network.form(name)) is not None for name in folded)


def test_kernels_learn_in_their_frequencies_and_stay_there_when_channels_leave(tmp_path):
    torch.manual_seed(0)
    layers = nn.Unflatten(1, (1, 3, 4)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    network = capture(nn.Sequential(*layers), torch.zeros(2, 12))
    network.set_tensor("1.weight", network.dense("1.weight").index_fill(0, torch.arange(3), 0.0))
    network.set_tensor("1.bias", torch.zeros(8))
    short = _rate(dct=True, rate=0.05, train=TRAIN | {"lr": 1e-3}), {"id": "remove_dead"}, _rate(dct=True, warmup=0)
    data, found, _ = _run(tmp_path, *short, network=network)
    kernel = found.form("1.weight")
    assert isinstance(kernel, Dct) and one_step(kernel.coefficients) is not None and kernel.shape[0] == 5
    assert one_step(found.form("4.weight")) is not None
    x = Blobs().x
    torch.testing.assert_close(torch.from_numpy(open_bytes(data)(x.numpy())), found.eval()(x), rtol=1e-5, atol=1e-5)
