"""The steps obd and obs: shares come out as asked for, zeros last to the file, settings that contradict are refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.recipes import Recipe, Task, load_recipe, run
from tersenet.recipes.steps.obd import OptimalBrainDamage
from tersenet.recipes.steps.obs import OptimalBrainSurgeon


class Blobs:
    """Three classes of points; a split as the zoo has them."""

    def __init__(self, n: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.y = torch.arange(n) % 3
        self.x = torch.randn(n, 12, generator=generator) + 2 * nn.functional.one_hot(self.y, 12)

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


def _network():
    torch.manual_seed(0)
    return capture(
        nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)), torch.zeros(2, 12)
    )


def _zeros(network) -> dict[str, int]:
    return {name: int((network.dense(name) == 0).sum()) for name in ("0.weight", "3.weight")}


def _run(tmp_path, *steps, network=None, train=None):
    recipe = Recipe.model_validate({"name": "x", "steps": steps, "coder": "rans"})
    task = Task(recipe=recipe, run_dir=tmp_path, train=train or Blobs(96, 0))
    data, record = run(network or _network(), task)
    return artifact.from_contents(decode(data, max_bytes=1 << 24)), record


TRAIN = {"epochs": 2, "batch_size": 16, "lr": 0.05}


@pytest.mark.parametrize("curvature", ["gauss_newton", "recursion"])
def test_obd_prunes_in_iterations_with_training_and_its_zeros_last_to_the_file(tmp_path, curvature):
    steps = [
        {"id": "train", "train": TRAIN},
        {"id": "obd", "keep": 0.25, "iterations": 2, "curvature": curvature, "train": TRAIN},
        {"id": "store", "bits": 3},
    ]
    network, record = _run(tmp_path, *steps)
    assert sum(_zeros(network).values()) == 240 - 60
    assert [stage["label"] for stage in record.stages][1:3] == ["obd 1/2", "obd 2/2"]


@pytest.mark.parametrize("step", ["obd", "obs"])
def test_a_table_or_scope_layer_gives_each_layer_its_share(tmp_path, step):
    network, _ = _run(tmp_path / "table", {"id": step, "keep": {"first": 0.5, "*": 0.25}})
    assert _zeros(network) == {"0.weight": 96, "3.weight": 36}
    network, _ = _run(tmp_path / "scope", {"id": step, "keep": 0.5, "scope": "layer"})
    assert _zeros(network) == {"0.weight": 96, "3.weight": 24}


@pytest.mark.parametrize("step", ["obd", "obs"])
def test_where_leaves_the_others_alone(tmp_path, step):
    network, _ = _run(tmp_path, {"id": step, "keep": 0.5, "where": "last"})
    assert _zeros(network) == {"0.weight": 0, "3.weight": 24}


def test_obs_takes_a_pattern_and_what_was_pruned_stays_so(tmp_path):
    network, _ = _run(tmp_path, {"id": "prune", "keep": {"first": 0.25, "*": 1.0}}, {"id": "obs", "pattern": "2:4"})
    groups = (network.dense("3.weight") != 0).reshape(-1, 4).sum(1)
    assert (groups == 2).all()
    assert _zeros(network)["0.weight"] >= 0.75 * 192


def test_layers_that_are_no_matrix_are_named_and_left(tmp_path):
    class Tokens(Blobs):
        def batch(self, indices):
            return (self.x[indices].abs() * 3).long().clamp(max=9), self.y[indices]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(48, 3))
    words = capture(model, torch.zeros(2, 12, dtype=torch.int64))
    for step in ("obd", "obs"):
        network, record = _run(tmp_path / step, {"id": step, "keep": 0.5}, network=words, train=Tokens(96, 0))
        assert record.stages[0]["notes"] == [f"0.weight: left as it is; {step} knows no embedding"]
        assert int((network.dense("2.weight") == 0).sum()) == 72
    with pytest.raises(TersenetError, match="'0' names no linear, conv1d or conv2d"):
        _run(tmp_path / "none", {"id": "obs", "keep": 0.5, "where": "0"}, network=words, train=Tokens(96, 0))


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        (OptimalBrainDamage, {}),
        (OptimalBrainDamage, {"keep": 0}),
        (OptimalBrainDamage, {"keep": 1.1}),
        (OptimalBrainDamage, {"keep": {"*": 0.5}, "scope": "global"}),
        (OptimalBrainSurgeon, {}),
        (OptimalBrainSurgeon, {"keep": 0.5, "pattern": "2:4"}),
        (OptimalBrainSurgeon, {"pattern": "4:4"}),
        (OptimalBrainSurgeon, {"pattern": "0:4"}),
        (OptimalBrainSurgeon, {"pattern": "half"}),
        (OptimalBrainSurgeon, {"pattern": "4x1"}),
        (OptimalBrainSurgeon, {"keep": 0.5, "damping": 0}),
    ],
)
def test_settings_that_cannot_be_are_refused(step, settings):
    with pytest.raises(ValidationError):
        step(**settings)


def test_data_are_asked_for_and_may_not_hold_nan(tmp_path):
    for step in ("obd", "obs"):
        recipe = Recipe.model_validate({"name": "x", "steps": [{"id": step, "keep": 0.5}]})
        with pytest.raises(TersenetError, match="needs training data"):
            run(_network(), Task(recipe=recipe, run_dir=tmp_path / step))
        bad = Blobs(96, 0)
        bad.x[3, 4] = torch.nan
        with pytest.raises(TersenetError, match="NaN or infinite"):
            _run(tmp_path / f"nan-{step}", {"id": step, "keep": 0.5}, train=bad)


def test_a_keep_of_the_command_line_reaches_the_shipped_recipe():
    recipe = load_recipe("obs").with_settings(keep={"first": 1.0, "*": 0.3})
    assert recipe.steps[0].keep == {"first": 1.0, "*": 0.3}
    with_pattern = Recipe.model_validate({"name": "x", "steps": [{"id": "obs", "pattern": "2:4"}]})
    assert with_pattern.with_settings(keep={"*": 0.3}).steps[0].pattern is None


def test_a_gentler_surgery_keeps_more_until_it_keeps_all():
    step, seen = OptimalBrainSurgeon(keep=0.55), []
    while step is not None:
        seen.append(step.keep)
        step = step.gentler()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
