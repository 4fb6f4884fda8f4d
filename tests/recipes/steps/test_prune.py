"""The step prune: every schedule meets what was asked for, resumes in the same bytes, and refuses what makes no sense."""

from __future__ import annotations

import shutil

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.recipes import Prune, Recipe, Task, run
from tersenet.recipes.steps import Situation

TRAIN = {"epochs": 2, "batch_size": 16, "lr": 0.05}


class Blobs:
    """Three classes of points; a split as the zoo has them."""

    def __init__(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        self.y = torch.arange(n) % 3
        self.x = torch.randn(n, 12, generator=generator) + 2 * nn.functional.one_hot(self.y, 12)

    def __len__(self):
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


DATA = {"train": Blobs(96, 0), "validate": Blobs(60, 1)}


def _network(seed=0):
    torch.manual_seed(seed)
    return capture(nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)), torch.zeros(2, 12))


def _pruned(folder, *steps, network=None, on_event=None):
    recipe = Recipe.model_validate({"name": "short", "steps": steps})
    data, record = run(network or _network(), Task(recipe=recipe, run_dir=folder, **DATA), on_event)
    return data, artifact.from_contents(decode(data)), record


def _zero(network, name="0.weight"):
    return network.dense(name) == 0


@pytest.mark.parametrize("schedule", ["iterative", "gradual", "dynamic"])
def test_every_schedule_ends_with_exactly_the_share_that_was_asked_for_in_ordinary_sparse_weights(schedule, tmp_path):
    step = {"id": "prune", "keep": {"last": 0.5, "*": 0.1}, "schedule": schedule, "train": TRAIN}
    _, network, record = _pruned(tmp_path, step)
    assert int((~_zero(network)).sum()) == round(0.1 * 192)
    assert int((~_zero(network, "2.weight")).sum()) == round(0.5 * 48)
    assert isinstance(network.form("0.weight"), Sparse)
    assert record.stages[-1]["label"] == ("prune" if schedule == "iterative" else f"prune, {schedule}")


@pytest.mark.parametrize("schedule", ["gradual", "dynamic"])
def test_a_run_stopped_inside_a_schedule_ends_in_the_same_bytes(schedule, tmp_path):
    steps = {"id": "prune", "keep": 0.2, "scope": "global", "schedule": schedule, "train": TRAIN}, {"id": "round"}
    events = []
    whole, _, _ = _pruned(tmp_path / "whole", *steps, on_event=events.append)
    for stop in [place for place, event in enumerate(events) if event["kind"] == "train"]:
        seen = iter(range(1000))

        def interrupt(event, stop=stop, seen=seen):
            if next(seen) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            _pruned(tmp_path / "stopped", *steps, on_event=interrupt)
        assert _pruned(tmp_path / "stopped", *steps)[0] == whole, events[stop]
        shutil.rmtree(tmp_path / "stopped")


def test_the_seed_decides_the_draws_of_surgery():
    step = Prune(keep=0.2, schedule="dynamic", train=TRAIN)

    def changes(seed):
        """Whether the mask changes, for weights that would have it changed at every draw."""
        network, _ = step.change(_network(), _situation(seed=seed))
        hook, form = step.after_step(_situation(seed=seed)), network.form("0.weight")
        found = []
        for done in range(1, 40):
            with torch.no_grad():
                form.values.copy_(torch.randn(form.shape, generator=torch.Generator().manual_seed(done)))
            before = form.mask.clone()
            hook(network, done / 40)
            found.append(not torch.equal(form.mask, before))
        return found

    assert changes(0) == changes(0) != changes(1)
    assert any(changes(0)) and not any(changes(0)[20:])


def _situation(earlier=None, stage=0, seed=0):
    return Situation(stage=stage, seed=seed, quality=None, earlier=earlier, **DATA)


def test_a_threshold_of_zero_keeps_the_zeros_that_are_there_through_training(tmp_path):
    network = _network()
    plain = network.dense("0.weight").clone()
    plain[plain.abs() < 0.1] = 0
    network.set_tensor("0.weight", plain)
    step = {"id": "prune", "where": "0", "threshold": 0, "train": TRAIN}
    _, trained, _ = _pruned(tmp_path / "kept", step, network=network.clone())
    assert torch.equal(_zero(trained), plain == 0) and bool((plain == 0).any())
    assert not torch.equal(trained.dense("0.weight"), plain)
    _, without, _ = _pruned(tmp_path / "lost", {"id": "train", "train": TRAIN}, network=network)
    assert int(_zero(without).sum()) < int((plain == 0).sum()), "training alone fills them"


def test_patterns_hold_after_training_also_in_convolutions(tmp_path):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Unflatten(1, (1, 12)), nn.Conv1d(1, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    network = capture(layers, torch.zeros(2, 12))
    steps = (
        {"id": "prune", "where": "op:linear", "pattern": "2:4", "train": TRAIN},
        {"id": "prune", "where": "op:conv1d", "pattern": "4x1", "keep": 0.4, "schedule": "gradual", "train": TRAIN},
    )
    _, pruned, _ = _pruned(tmp_path, *steps, network=network)
    linear, conv = pruned.dense("4.weight"), pruned.dense("1.weight").flatten(1)
    assert ((linear.reshape(-1, 4) != 0).sum(1) == 2).all()
    blocks = (conv.reshape(2, 4, 5) != 0).sum(1)
    assert set(blocks.unique().tolist()) == {0, 4} and int((blocks == 4).sum()) == round(0.4 * 10)


def test_kept_weights_go_back_to_the_start_bit_for_bit_and_biases_with_them():
    start, trained = _network(0), _network(1)
    masks = {name: keep_largest(trained.dense(name), 0.5) != 0 for name in ("0.weight", "2.weight")}
    step = Prune(keep=0.25, iterations=2, rewind="start", train=TRAIN)
    rewound, _ = step.change(trained, _situation({0: start.clone()}.__getitem__))
    for name, value in start.tensors().items():
        expected = torch.where(masks[name], value, 0.0) if name in masks else value
        assert rewound.dense(name).numpy().tobytes() == expected.numpy().tobytes()
    with torch.no_grad():
        for form in rewound.forms().values():
            form.values.values += torch.linspace(-1, 1, len(form.values.values))
    largest = {name: keep_largest(rewound.dense(name), 0.25) != 0 for name in masks}
    again, _ = step.change(rewound, _situation({0: start}.__getitem__, stage=1))
    for name, mask in largest.items():
        assert torch.equal(again.dense(name), torch.where(mask, start.dense(name), 0.0))


@pytest.mark.parametrize("rewind", ["start", 1, 2])
def test_a_run_rewinds_to_its_start_or_to_the_result_of_an_earlier_step(rewind, tmp_path):
    """Trained at a rate at which no float32 moves, so that the file shows what was rewound to."""
    still = TRAIN | {"lr": 1e-30, "epochs": 1}
    prune = {"id": "prune", "keep": 0.3, "iterations": 2, "rewind": rewind, "train": still}
    steps = ({"id": "train", "train": TRAIN}, {"id": "prune", "keep": 0.9, "train": TRAIN}, {"id": "round"}, prune)
    _, network, record = _pruned(tmp_path, *steps)
    if rewind == "start":
        earlier = _network()
    else:
        file = {1: "stage-0.0.0.terse", 2: "stage-1.0.0.terse"}[rewind]
        earlier = artifact.load(tmp_path / file)
    for name in ("0.weight", "2.weight"):
        kept = ~_zero(network, name)
        assert torch.equal(network.dense(name)[kept], earlier.dense(name)[kept])
    assert torch.equal(network.dense("0.bias"), earlier.dense("0.bias"))
    assert len(record.stages) == 5


def test_pruning_everything_is_refused_in_every_schedule(tmp_path):
    for schedule, train in (("iterative", None), ("dynamic", TRAIN)):
        with pytest.raises(TersenetError, match="leaves nothing of '0.weight'"):
            step = {"id": "prune", "threshold": 99.0, "schedule": schedule, "train": train}
            _pruned(tmp_path / schedule, step)
    dead = _network()
    attach_pruned(dead, "2.weight", keep_largest(dead.dense("2.weight"), 0.5))
    dead.set_tensor("0.weight", torch.zeros(16, 12))
    with pytest.raises(TersenetError, match="leaves nothing of '0.weight'"):
        _pruned(tmp_path / "dead", {"id": "prune", "keep": 0.5, "schedule": "gradual", "train": TRAIN}, network=dead)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"threshold": -0.1}, "greater than or equal to 0"),
        ({"threshold": 0.1, "keep": 0.5}, "keep and threshold came"),
        ({"keep": 0.5, "pattern": "2:4"}, "drop keep"),
        ({"pattern": "2:4", "scope": "global"}, "drop the threshold for all"),
        ({"pattern": "2:4", "iterations": 2}, "cuts all at once; drop iterations"),
        ({"pattern": "2:4", "schedule": "gradual", "train": TRAIN}, "gradual needs keep"),
        ({"pattern": "4x1"}, "none came"),
        ({"pattern": "4x1", "quality": 1.0}, "need keep"),
        ({"pattern": "four", "keep": 0.5}, "'four' is not a pattern"),
        ({"threshold": 0.1, "scope": "global"}, "takes one keep-fraction"),
        ({"keep": 0.5, "schedule": "gradual"}, "prunes while it trains; give train"),
        ({"keep": 0.5, "schedule": "dynamic", "train": {"epochs": 0}}, "prunes while it trains; give train"),
        ({"keep": 0.5, "schedule": "gradual", "train": TRAIN, "iterations": 2}, "drop iterations"),
        ({"keep": 0.5, "schedule": "dynamic", "train": TRAIN, "rewind": "start"}, "drop rewind"),
        ({"keep": 0.5, "schedule": "gradual", "train": TRAIN, "last_train": TRAIN}, "drop last_train"),
        ({"quality": 1.0, "schedule": "gradual", "train": TRAIN}, "gradual needs keep"),
        ({"keep": 0.5, "schedule": "gradual", "train": TRAIN | {"keep_best": True}}, "keep_best could choose"),
        ({"threshold": {"*": 0.0}, "schedule": "dynamic", "train": TRAIN}, "with 0 cuts nothing"),
        ({"quality": 0.0, "schedule": "dynamic", "train": TRAIN}, "with 0 cuts nothing"),
        ({"keep": 0.5, "begin": 0.1}, "begin belongs to schedule gradual; this one is iterative"),
        ({"keep": 0.5, "schedule": "dynamic", "train": TRAIN, "frequency": 0.1}, "frequency belongs to schedule"),
        ({"keep": 0.5, "end": 0.1}, "end belongs to schedule gradual or dynamic"),
        ({"keep": 0.5, "schedule": "gradual", "train": TRAIN, "begin": 0.8}, "0 <= begin < end <= 1"),
        ({"keep": 0.5, "schedule": "dynamic", "train": TRAIN, "end": 0.0}, "expected more than 0 and at most 1"),
        ({"keep": 0.5, "rewind": "start"}, "rewind undoes training"),
        ({"keep": 0.5, "rewind": "start", "iterations": 2, "last_train": TRAIN}, "rewind undoes training"),
        ({"keep": 0.5, "rewind": 0, "train": TRAIN}, "rewind"),
        ({"keep": 0.5, "rewind": "begin", "train": TRAIN}, "rewind"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_with_a_sentence(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Prune(**settings)


def test_rewinding_to_a_step_that_is_not_before_is_refused():
    prune = {"id": "prune", "keep": 0.5, "rewind": 1, "train": TRAIN}
    Recipe.model_validate({"name": "r", "steps": [{"id": "train"}, prune]})
    with pytest.raises(ValidationError, match="step 1 rewinds to step 1, which is not before it"):
        Recipe.model_validate({"name": "r", "steps": [prune]})


def test_other_keep_fractions_reach_every_rule_but_a_pattern_that_has_its_own():
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "steps": [
                {"id": "prune", "threshold": 0.1, "pattern": None},
                {"id": "prune", "keep": 0.5, "pattern": "1x8", "schedule": "gradual", "train": TRAIN},
                {"id": "prune", "pattern": "2:4"},
            ],
        }
    )
    first, second, third = recipe.with_settings(keep={"*": 0.2}).steps
    assert (first.keep, first.threshold) == ({"*": 0.2}, None)
    assert (second.keep, second.pattern, second.schedule) == ({"*": 0.2}, "1x8", "gradual")
    assert third == recipe.steps[2]
    with pytest.raises(TersenetError, match="no step that takes keep"):
        recipe.model_copy(update={"steps": recipe.steps[2:]}).with_settings(keep={"*": 0.2})
