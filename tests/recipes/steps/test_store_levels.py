"""The step store with few levels: it learns and settles, resumes in the same bytes, keeps zeros, and refuses nonsense."""

from __future__ import annotations

import shutil

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Binary, FixedPoint, Latent, Sparse, Ternary, Uniform
from tersenet.graph import capture
from tersenet.methods.fixed_point import Exponent
from tersenet.recipes import Recipe, Task, parse, run
from tersenet.recipes.steps import Situation
from tersenet.recipes.steps.store import StoreBinary, StoreFixedPoint, StoreTernary, StoreUniform

TRAIN = {"epochs": 2, "batch_size": 16, "lr": 0.05}
STEPS = {
    "binary": ({"form": "binary"}, Binary),
    "ternary": ({"form": "ternary"}, Ternary),
    "uniform of 1 bit": ({"form": "uniform", "bits": 1}, Binary),
    "uniform of 3 bits": ({"form": "uniform", "bits": 3}, Uniform),
    "uniform by groups": ({"form": "uniform", "bits": 3, "per": 4, "symmetric": False}, Uniform),
    "uniform of 8 bits": ({"form": "uniform"}, Uniform),
    "fixed point": ({"form": "fixed_point", "bits": 5}, FixedPoint),
    "dynamic fixed point": (
        {"form": "fixed_point", "bits": 5, "dynamic": True, "inputs": 6, "gradients": 8},
        FixedPoint,
    ),
}


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


def _network():
    torch.manual_seed(0)
    return capture(nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)), torch.zeros(2, 12))


def _stored(folder, *steps, network=None, on_event=None):
    recipe = Recipe.model_validate({"name": "short", "steps": [{"id": "store", **step} for step in steps]})
    data, record = run(network or _network(), Task(recipe=recipe, run_dir=folder, **DATA), on_event)
    return data, artifact.from_contents(decode(data)), record


@pytest.mark.parametrize(("step", "kind"), STEPS.values(), ids=list(STEPS))
def test_it_learns_settles_into_its_form_and_goes_on_in_the_same_bytes_where_it_was_stopped(step, kind, tmp_path):
    step = step | {"train": TRAIN}
    whole, network, record = _stored(tmp_path / "whole", step)
    assert [type(form) for form in network.forms().values()] == [kind, kind]
    assert record.stages[0]["validate"]["accuracy"] == record.final["validate"]["accuracy"]

    def stop(event):
        if event.get("stage") == "validate" and event["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _stored(tmp_path / "stopped", step, on_event=stop)
    assert any(tmp_path.glob("stopped/*.ckpt*"))
    again, _, _ = _stored(tmp_path / "stopped", step)
    assert again == whole
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(("step", "kind"), STEPS.values(), ids=list(STEPS))
def test_without_training_the_levels_are_those_nearest_to_the_weights(step, kind, tmp_path):
    step = {name: value for name, value in step.items() if name not in ("inputs", "gradients")}
    _, network, _ = _stored(tmp_path, step)
    before = _network()
    for name, form in network.forms().items():
        assert type(form) is kind
        weight = before.dense(name)
        # No other value of its grid is nearer to a weight than the one that it has.
        nearest = form.nearest(weight.double(), torch.arange(weight.shape[1]))
        if kind is not Ternary:  # its threshold is half of the scale only by the best choice
            assert torch.equal(nearest, form().detach().double())


def test_latent_weights_take_other_levels_in_training_and_fixed_ones_do_not(tmp_path):
    levels = {}
    for latent in (True, False):
        step = {"form": "uniform", "bits": 3, "latent": latent, "train": TRAIN | {"epochs": 5}}
        _, network, _ = _stored(tmp_path / str(latent), step)
        levels[latent] = network.form("0.weight").level
    start = Uniform.fit(_network().dense("0.weight"), bits=3, per="row", range="mse").level
    assert torch.equal(levels[False], start)
    assert not torch.equal(levels[True], start)


@pytest.mark.parametrize("form", ["binary", "ternary", "uniform", "fixed_point"])
def test_zeros_of_a_pruned_weight_stay_and_the_others_have_a_scale(form, tmp_path):
    network = _network()
    weight = network.dense("0.weight").clone()
    weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.6] = 0
    network.attach("0.weight", Sparse.fit(weight))
    step = {"form": form, "where": "first", "train": TRAIN} | ({"bits": 3} if form == "uniform" else {})
    _, after, _ = _stored(tmp_path, step, network=network)
    assert isinstance(after.form("0.weight"), Sparse)
    assert not after.dense("0.weight")[weight == 0].any()
    assert 2 <= len(after.dense("0.weight").unique()) <= 2**8


def test_a_step_leaves_what_it_does_not_name(tmp_path):
    _, network, _ = _stored(tmp_path, {"form": "binary", "where": "last", "train": TRAIN})
    assert list(network.forms()) == ["2.weight"]


def test_the_hessian_range_lowers_the_error_of_outputs_where_inputs_differ_in_size(tmp_path):
    data = Blobs(96, 0)
    data.x = data.x * torch.logspace(-2, 1, 12)
    error = {}
    before = _network().dense("0.weight")
    for by in ("mse", "hessian"):
        recipe = Recipe.model_validate(
            {"name": "x", "steps": [{"id": "store", "form": "uniform", "bits": 2, "range": by, "where": "first"}]}
        )
        contents, _ = run(_network(), Task(recipe=recipe, run_dir=tmp_path / by, train=data))
        after = artifact.from_contents(decode(contents)).dense("0.weight")
        error[by] = float((data.x @ (after - before).T).square().sum())
    assert error["hessian"] < 0.8 * error["mse"]


def test_exponents_follow_the_weights_while_they_train():
    step = StoreFixedPoint(form="fixed_point", bits=4, dynamic=True, inputs=4, gradients=6, train=TRAIN)
    at = Situation(stage=0, seed=0, train=DATA["train"], validate=None, quality=lambda n: 0.0, earlier=lambda n: n)
    network, _ = step.change(_network(), at)
    follow, form = step.after_step(at), network.form("0.weight")
    assert isinstance(form, Latent)
    start = int(form.quantiser.exponent.value)
    with torch.no_grad():
        form.values *= 4
    network.train()
    for _ in range(300):
        network(DATA["train"].x).square().mean().backward()
        follow(network, 0.5)
    assert int(form.quantiser.exponent.value) == start + 2
    assert len([one for one in network.modules() if isinstance(one, Exponent)]) == 6
    network, _ = step.settle(network, at)
    assert not [one for one in network.modules() if isinstance(one, Exponent)]
    assert torch.isfinite(network(DATA["train"].x)).all()


@pytest.mark.parametrize("kind", [StoreBinary, StoreTernary, StoreUniform, StoreFixedPoint])
def test_every_point_of_the_range_is_a_step_that_can_be_carried_out(kind, tmp_path):
    points = kind.over_range()
    sizes = [
        len(artifact.to_bytes(point.change(_network(), Situation(stage=0, seed=0, **NOTHING))[0], "raw"))
        for point in points
    ]
    assert sizes == sorted(sizes)
    assert len({point.label(0) for point in points}) in (1, len(points))


NOTHING = {"train": None, "validate": None, "quality": lambda network: 0.0, "earlier": lambda steps: None}


@pytest.mark.parametrize("form", ["binary", "ternary", "uniform", "fixed_point"])
def test_a_constant_weight_is_refused(form, tmp_path):
    network = _network()
    network.set_tensor("2.weight", torch.full((3, 16), 0.5))
    with pytest.raises(TersenetError, match=r"every weight of '2.weight' is 0.5, so there is nothing to round"):
        _stored(tmp_path, {"form": form}, network=network)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"form": "uniform", "bits": 0}, "greater than or equal to 1"),
        ({"form": "uniform", "bits": 9}, "less than or equal to 8"),
        ({"form": "uniform", "bits": {"*": 9}}, "less than or equal to 8"),
        ({"form": "uniform", "per": 1}, "greater than or equal to 2"),
        ({"form": "binary", "latent": True}, "latent weights are for training"),
        ({"form": "uniform", "range": "exact", "latent": True, "train": TRAIN}, "drop one of them"),
        ({"form": "fixed_point", "bits": 1}, "greater than or equal to 2"),
        ({"form": "fixed_point", "dynamic": True, "exponent": -4}, "drop exponent, or dynamic"),
        ({"form": "fixed_point", "inputs": 8}, "rounded in training"),
        (
            {"form": "quaternary"},
            "form is one of codebook, product, residual, dense, binary, ternary, uniform, fixed_point",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(step, sentence):
    with pytest.raises(ValidationError, match=sentence):
        Recipe.model_validate({"name": "x", "steps": [{"id": "store", **step}]})


def test_weights_that_lie_on_no_grid_are_refused_by_name(tmp_path):
    with pytest.raises(TersenetError, match=r"0.weight: \d+ of 16 runs of weights lie on no even grid of 8 bits"):
        _stored(tmp_path, {"form": "uniform", "range": "exact"})


def test_a_recipe_file_says_where_it_is_wrong():
    with pytest.raises(TersenetError, match=r"steps.0.store.uniform.bits"):
        parse("steps: [{id: store, form: uniform, bits: 12}]", "r.yaml")
