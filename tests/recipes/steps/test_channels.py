"""Channels leave in a run: as many as asked, BatchNorm right afterwards, told layer by layer, and on after a stop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.methods.channels import multiply_adds
from tersenet.recipes import Recipe, Task, parse, run
from tersenet.recipes.steps.channels import Channels


class Blobs:
    """Three classes of pictures; a split as the zoo has them."""

    def __init__(self, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.y = torch.arange(n) % 3
        self.x = torch.randn(n, 3, 6, 6, generator=generator)
        self.x[range(n), self.y] += 1.5

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


DATA = {"train": Blobs(96, 0), "validate": Blobs(60, 1)}
TRAIN = {"epochs": 2, "batch_size": 16, "lr": 0.05}


def network() -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 3),
    )
    return capture(model, torch.zeros(2, 3, 6, 6))


def carried_out(folder, *steps, data=DATA, on_event=None):
    recipe = Recipe.model_validate({"name": "narrow", "steps": list(steps)})
    contents, record = run(network(), Task(recipe=recipe, run_dir=folder, **data), on_event)
    return contents, artifact.from_contents(decode(contents)), record


@pytest.mark.parametrize("score", ["l1", "l2", "batchnorm", "taylor", "activation"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_each_score_reaches_its_share_of_multiply_adds(score, scope, tmp_path):
    step = {"id": "channels", "where": "0,3", "score": score, "scope": scope, "flops": 0.5, "examples": 96}
    _, smaller, record = carried_out(tmp_path, step)
    assert 0.4 < multiply_adds(smaller) / multiply_adds(network()) <= 0.5
    assert record.final["cost"]["after"]["layers"][0]["macs_dense"] < 36 * 27 * 12
    assert all("channels left the network" in note for note in record.stages[0]["notes"])


def test_running_statistics_are_those_of_the_smaller_network(tmp_path):
    step = {"id": "channels", "where": "0", "keep": 0.5, "examples": 96, "batch_size": 96}
    _, smaller, record = carried_out(tmp_path / "data", step)
    x, y = DATA["train"].x, smaller
    with torch.no_grad():
        hidden = torch.relu(
            torch.batch_norm(
                torch.conv2d(x, y.dense("0.weight"), y.dense("0.bias"), padding=1),
                y.dense("1.weight"),
                y.dense("1.bias"),
                None,
                None,
                True,
                0.0,
                1e-5,
                False,
            )
        )
        behind = torch.conv2d(hidden, y.dense("3.weight"), y.dense("3.bias"))
    assert torch.allclose(smaller.dense("4.running_mean"), behind.mean((0, 2, 3)), atol=1e-4)
    assert record.stages[0]["notes"] == ["0: 6 of 12 channels left the network"]
    _, kept, record = carried_out(tmp_path / "none", step, data={"validate": DATA["validate"]})
    assert torch.equal(kept.dense("4.running_mean"), network().dense("4.running_mean"))
    assert "BatchNorm keeps the statistics of the larger network" in record.stages[0]["notes"][1]


def test_iterations_take_their_root_each_and_go_on_after_a_stop(tmp_path):
    steps = (
        {"id": "channels", "where": "0,3", "keep": 0.25, "iterations": 2, "train": TRAIN, "examples": 96},
        {"id": "round"},
    )
    contents, smaller, record = carried_out(tmp_path / "whole", *steps)
    assert [stage["label"] for stage in record.stages] == ["channels 1/2", "channels 2/2", "round"]
    assert smaller.dense("0.weight").shape == (3, 3, 3, 3) and smaller.dense("3.weight").shape == (2, 3, 3, 3)
    assert record.stages[0]["notes"][0] == "0: 6 of 12 channels left the network"

    def stop_in_the_second(event):
        if event["kind"] == "train" and event["label"] == "channels 2/2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path / "stopped", *steps, on_event=stop_in_the_second)
    assert carried_out(tmp_path / "stopped", *steps)[0] == contents


def test_channels_leave_after_pruning_and_before_sharing(tmp_path):
    _, smaller, _ = carried_out(
        tmp_path,
        {"id": "prune", "keep": 0.5},
        {"id": "channels", "where": "0,3", "keep": 0.5},
        {"id": "remove_dead"},
        {"id": "store", "bits": 3},
    )
    assert smaller.dense("0.weight").shape[0] <= 6
    assert 0 < float((smaller.dense("3.weight") == 0).double().mean()) < 0.7


def test_a_layer_keeps_what_the_limits_say(tmp_path):
    step = {"id": "channels", "where": "0,3", "score": "l2", "keep": 0.3}
    assert carried_out(tmp_path / "a", step | {"multiple": 8})[1].dense("0.weight").shape[0] == 8
    assert carried_out(tmp_path / "b", step | {"at_least": 7})[1].dense("3.weight").shape[0] == 7
    _, _, record = carried_out(tmp_path / "c", step | {"keep": 1.0})
    assert record.stages[0]["notes"][-1] == "no channel left the network: the request keeps them all"


def test_data_that_a_score_needs_is_asked_for(tmp_path):
    step = {"id": "channels", "score": "taylor", "keep": 0.5}
    with pytest.raises(TersenetError, match="needs training data"):
        carried_out(tmp_path, step, data={"validate": DATA["validate"]})
    with pytest.raises(TersenetError, match="step channels looks at training inputs, and examples is 0"):
        carried_out(tmp_path, step | {"examples": 0})
    assert not Channels(keep=0.5).needs_data and Channels(keep=0.5, train=TRAIN).needs_data


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("keep: 0", "keep"),
        ("keep: 1.5", "keep"),
        ("flops: 0", "flops"),
        ("score: l1", "either keep"),
        ("keep: 0.5, flops: 0.5", "either keep"),
        ('keep: {"*": 0.5}, scope: global', "one keep-fraction"),
        ("keep: 0.5, at_least: 0", "at_least"),
        ("keep: 0.5, score: l3", "score"),
        ("keep: .nan", "keep"),
    ],
)
def test_settings_that_make_no_sense_are_refused(text, sentence):
    with pytest.raises(TersenetError, match=sentence):
        parse(f"steps: [{{id: channels, {text}}}]", "x.yaml")
