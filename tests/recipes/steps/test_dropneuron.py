"""The step trains neurons away, cuts, and trains what is left; stopped anywhere it ends in the same bytes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.recipes import GoalNotMet, Recipe, Task, parse, run

TRAIN = {"epochs": 12, "lr": 0.05, "regularise": {"l1": 0.002, "li": 0.03, "lo": 0.03}}
LAST = {"epochs": 2, "lr": 0.01}


def _batches(n: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Three classes of points that the first three of twelve inputs tell apart."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.randn(n, 12, generator=generator) + 4 * nn.functional.one_hot(y, 12)
    return list(zip(x.split(16), y.split(16)))


@pytest.fixture(scope="module")
def data():
    return {"train": _batches(96, 0), "validate": _batches(60, 1), "test": _batches(60, 2)}


def _network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    return capture(model, torch.zeros(2, 12))


def _recipe(**settings):
    return Recipe.model_validate({"name": "drop", "steps": [{"id": "dropneuron", **settings}]})


def _run(data, folder, on_event=None, max_drop=None, **settings):
    task = Task(recipe=_recipe(**settings), run_dir=folder, max_drop=max_drop, **data)
    contents, record = run(_network(), task, on_event)
    return contents, record, artifact.from_contents(decode(contents))


def test_training_with_group_terms_lets_neurons_go_and_keeps_the_answers_right(data, tmp_path):
    contents, record, network = _run(data, tmp_path / "group", train=TRAIN, last_train=LAST, threshold=0.01)
    assert [stage["label"] for stage in record.stages] == ["regularise", "drop neurons"]
    first, cut = record.stages
    assert first["notes"] == [] and len(first["history"]) == 12 and len(cut["history"]) == 2
    hidden = [len(network.dense(name)) for name in ("0.weight", "2.weight")]
    assert max(hidden) <= 12
    assert f"0: {int(network.dense('0.weight').count_nonzero())} of 192 weights are left" in cut["notes"][0]
    assert f"and {hidden[0]} of 16 outputs" in cut["notes"][0]
    assert record.final["test"]["accuracy"] > 0.9
    plain = TRAIN | {"regularise": {}}
    _, _, unpenalised = _run(data, tmp_path / "none", train=plain, last_train=LAST, threshold=0.01)
    assert len(unpenalised.dense("0.weight")) > hidden[0]  # the twin: it is the penalty that does it

    def stop(event):
        if event["kind"] == "train" and event["label"] == "drop neurons":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(data, tmp_path / "stopped", stop, train=TRAIN, last_train=LAST, threshold=0.01)
    assert _run(data, tmp_path / "stopped", train=TRAIN, last_train=LAST, threshold=0.01)[0] == contents


def test_only_the_layers_named_are_penalised_and_cut(data, tmp_path):
    _, _, network = _run(data, tmp_path, where="0, 2", train=TRAIN, threshold={"0": 0.0, "*": 0.05})
    assert network.form("4.weight") is None and network.dense("4.weight").all()
    assert network.dense("2.weight")[network.dense("2.weight") != 0].abs().min() >= 0.05
    (step,) = _recipe(where="0, 2", train=TRAIN).steps
    assert step.train_config(0).regularise.where == "0, 2"
    assert step.train_config(1) is None


def test_a_network_is_cut_as_it_comes_where_nothing_is_to_be_trained(data, tmp_path):
    recipe = _recipe(threshold=0.1)
    assert not recipe.trains
    _, record, network = _run({"test": data["test"]}, tmp_path, threshold=0.1)
    (stage,) = record.stages
    assert stage["label"] == "drop neurons" and stage["history"] == []
    assert 0 < int(network.dense("0.weight").count_nonzero()) < 192
    _, record, _ = _run({}, tmp_path / "all", threshold=0.0)
    assert record.stages[0]["notes"] == ["no weight lies below the threshold; nothing was removed"]


def test_a_promise_is_kept_by_halves_of_penalty_and_threshold_or_none_is_given(data, tmp_path):
    (step,) = _recipe(train=TRAIN, threshold={"last": 0.01, "*": 0.02}).steps
    half = step.gentler()
    assert half.threshold == {"last": 0.005, "*": 0.01}
    assert half.train.regularise.li == 0.015 and half.train.regularise.l1 == 0.001
    seen = 0
    while (step := step.gentler()) is not None:
        seen += 1
    assert seen == 4
    with pytest.raises(GoalNotMet, match="regularise loses .* at its gentlest"):
        _run(data, tmp_path, max_drop=-101.0, train=TRAIN | {"epochs": 1}, threshold=0.01)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("threshold: -1", "steps.0.dropneuron.threshold"),
        ("threshold: .nan", "finite number"),
        ("train: {epochs: 1, regularise: {l1: 1, where: fc*}}", "the where of dropneuron says"),
    ],
)
def test_a_step_that_cannot_be_meant_is_refused(settings, sentence):
    with pytest.raises(TersenetError, match=sentence):
        parse(f"steps: [{{id: dropneuron, {settings}}}]", "x.yaml")


def test_a_pattern_or_a_threshold_that_fits_no_layer_is_refused_before_training(data, tmp_path):
    def train(event):
        assert event["kind"] != "train"

    with pytest.raises(TersenetError, match="no layer matches 'fc'"):
        _run(data, tmp_path / "a", train, where="fc", train=TRAIN)
    with pytest.raises(TersenetError, match="threshold names no value for layer '2'"):
        _run(data, tmp_path / "b", train, train=TRAIN, threshold={"0": 0.1})
