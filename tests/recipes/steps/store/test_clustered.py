"""The steps whose forms are found by k-means: what is asked lasts to the file, what is reduced is said."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from blobs import Blobs
from pydantic import ValidationError
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Product, Residual, Sparse
from tersenet.graph import capture
from tersenet.recipes import Recipe, Task, run
from tersenet.recipes.steps import Situation
from tersenet.recipes.steps.store import StoreCodebook, StoreProduct, StoreResidual
from tersenet.runtime import open_bytes

TRAIN = {"epochs": 1, "lr": 0.01}


@cache
def _captured():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    return capture(model, torch.zeros(2, 12))


def _network(zeros: bool = False):
    network = _captured().clone()
    if zeros:
        weight = network.dense("0.weight")
        network.set_tensor("0.weight", torch.where(weight.abs() < 0.1, 0.0, weight))
    return network


def _run(tmp_path, *steps, network=None, coder="rans"):
    recipe = Recipe.model_validate({"name": "x", "steps": steps, "coder": coder})
    task = Task(recipe=recipe, run_dir=tmp_path, train=Blobs())
    data, record = run(network or _network(), task)
    return artifact.from_contents(decode(data, max_bytes=1 << 24)), record, data


FORMS = {
    "product": {"form": "product", "bits": 3, "dim": 2},
    "product out": {"form": "product", "bits": 2, "dim": 4, "axis": "out", "dtype": "float16"},
    "product a place": {"form": "product", "bits": 2, "dim": {"first": 3, "*": 4}, "shared": False},
    "residual": {"form": "residual", "bits": 2, "dim": 4, "rounds": 2},
    "residual of rows": {"form": "residual", "bits": 1, "dim": None, "rounds": {"last": 1, "*": 2}, "beam": 1},
    "codebook of int8": {"form": "codebook", "bits": 4, "dtype": "int8"},
    "codebook of int8 by row": {"form": "codebook", "bits": 4, "dtype": "int8", "per": "row"},
    "codebook from k-means++": {"form": "codebook", "bits": 3, "init": "kmeans++"},
    "one codebook": {"form": "codebook", "bits": 4, "shared": True},
    "one codebook of int8": {"form": "codebook", "bits": 4, "shared": True, "dtype": "int8"},
}


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_what_is_stored_trains_saves_and_runs_without_torch_as_it_answers_here(name, zeros, tmp_path):
    loaded, _, data = _run(tmp_path, {"id": "store", "train": TRAIN, **FORMS[name]}, network=_network(zeros))
    form = loaded.form("0.weight")
    kind = {"product": Product, "residual": Residual, "codebook": Codebook}[FORMS[name]["form"]]
    assert isinstance(form.values if zeros else form, kind) and isinstance(form, Sparse) == zeros
    x = Blobs().x.numpy()
    with torch.no_grad():
        want = loaded(torch.from_numpy(x)).numpy()
    assert np.allclose(open_bytes(data)(x), want, rtol=0, atol=1e-5)


class Images:
    """Random pictures, one class; a split as the zoo has them."""

    def __len__(self) -> int:
        return 32

    def batch(self, indices):
        x = torch.randn(32, 4, 6, 6, generator=torch.Generator().manual_seed(0))
        return x[indices], torch.zeros(len(indices), dtype=torch.int64)


@pytest.mark.parametrize("form", ["product", "residual"])
def test_kernels_plain_grouped_and_transposed_are_stored_as_sub_vectors_and_run(form):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.ConvTranspose2d(8, 2, 2),
        nn.Flatten(),
        nn.Linear(50, 3),
    )
    network = capture(model.eval(), torch.zeros(2, 4, 6, 6))
    step = {
        "id": "store",
        "form": form,
        "bits": 3,
        "dim": {"op:conv2d": 9, "*": 4},
        "weighted": "hessian",
        "examples": 8,
    }
    (step,) = Recipe.model_validate({"name": "x", "steps": [step]}).steps
    at = Situation(
        stage=0, seed=0, train=Images(), validate=None, quality=lambda net: 0.0, earlier=lambda steps: network
    )
    changed, _ = step.change(network, at)
    assert changed.form("0.weight").pieces[0].cut.dim == 9
    x, _ = Images().batch(torch.arange(8))
    with torch.no_grad():
        want = changed(x).numpy()
    answered = open_bytes(artifact.to_bytes(changed))(x.numpy())
    assert np.allclose(answered, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("form", ["codebook", "product", "residual"])
def test_weighting_by_inputs_lowers_the_error_of_what_the_layer_answers(form, zeros, tmp_path):
    options = {"id": "store", "form": form, "where": "first", "bits": 2}
    options |= {} if form == "codebook" else {"dim": 2}
    x, original = Blobs().x, _network(zeros)
    errors = []
    for weighted in ("none", "hessian"):
        loaded, *_ = _run(tmp_path / weighted, options | {"weighted": weighted, "examples": 64}, network=original)
        apart = loaded.dense("0.weight") - original.dense("0.weight")
        errors.append(float((x @ apart.T).square().sum()))
    assert errors[1] < errors[0]


def test_weighting_by_magnitude_keeps_large_weights_better(tmp_path):
    original = _network()
    errors = []
    for weighted in ("none", "magnitude"):
        step = {"id": "store", "bits": 2, "init": "optimum", "where": "first", "weighted": weighted}
        loaded, *_ = _run(tmp_path / weighted, step, network=original)
        before = original.dense("0.weight")
        errors.append(float(((loaded.dense("0.weight") - before).square() * before.abs()).sum()))
    assert errors[1] < errors[0]


def test_weighting_by_inputs_without_inputs_is_refused(tmp_path):
    recipe = Recipe.model_validate({"name": "x", "steps": [{"id": "store", "weighted": "hessian"}]})
    with pytest.raises(TersenetError, match="needs training data"):
        run(_network(), Task(recipe=recipe, run_dir=tmp_path))


def test_one_codebook_for_all_layers_trains_as_one_and_the_file_says_what_it_holds(tmp_path):
    step = {"id": "store", "bits": 3, "shared": True, "init": "optimum", "train": TRAIN}
    loaded, record, _ = _run(tmp_path, step)
    values = [set(loaded.dense(name).unique().tolist()) for name in ("0.weight", "2.weight", "4.weight")]
    assert len(set.union(*values)) == 8
    before = {*_run(tmp_path / "untrained", step | {"train": None})[0].dense("0.weight").unique().tolist()}
    assert not before & set.union(*values)
    assert record.stages[0]["notes"] == ["3 layers share one codebook of 8 values; a file holds it once a layer"]


def test_iterations_train_the_weights_freely_between_sharings(tmp_path):
    step = {"id": "store", "bits": 2, "init": "optimum", "iterations": 3, "train": TRAIN}
    loaded, record, _ = _run(tmp_path, step, network=_network(zeros=True))
    labels = [stage["label"] for stage in record.stages]
    assert labels == ["share, weights train (1)", "share, weights train (2)", "share"]
    between = artifact.load(tmp_path / record.stages[0]["file"])
    assert len(between.dense("2.weight").unique()) > 100
    assert torch.equal(between.dense("0.weight") == 0, _network(zeros=True).dense("0.weight") == 0)
    assert len(loaded.dense("2.weight").unique()) == 4
    assert len(loaded.dense("0.weight").unique()) == 5


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (
            {"bits": 8, "where": "last"},
            "4.weight: 24 distinct weights are left, so the codebook has 24 values, not 256",
        ),
        ({"bits": 8, "dtype": "int8", "where": "first"}, "whole numbers of int8 are left"),
        ({"form": "product", "where": "last"}, "4.weight: 6 different sub-vectors are left, so the codebook has 6 ent"),
        ({"form": "product", "dim": 5, "bits": 1, "where": "first"}, "5 does not divide the 12 weights of a row"),
        ({"form": "residual", "where": "last"}, "nothing is left to code after 1 of 2 rounds"),
    ],
)
def test_what_becomes_of_less_than_was_asked_is_said(step, sentence, tmp_path):
    _, record, _ = _run(tmp_path, {"id": "store", **step})
    assert any(sentence in note for note in record.stages[0]["notes"])


def test_scales_by_row_become_one_where_zeros_are_left_out_which_is_said(tmp_path):
    step = {"id": "store", "bits": 4, "dtype": "int8", "per": "row", "where": "first"}
    loaded, record, _ = _run(tmp_path, step, network=_network(zeros=True))
    assert len(loaded.form("0.weight").values.scale) == 1
    assert "one scale serves the rest" in record.stages[0]["notes"][0]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"per": "row"}, "needs dtype: int8"),
        ({"per": "row", "dtype": "int8", "shared": True}, "no shared codebook"),
        ({"shared": True, "bits": {"*": 3}}, "give bits as one number"),
        ({"iterations": 2}, "give train, or iterations: 1"),
        ({"form": "product", "dim": 0}, "dim"),
        ({"form": "residual", "rounds": 0}, "rounds"),
        ({"form": "prodct"}, "form is one of codebook, product, residual, dense"),
        ({"form": "product", "shared": "maybe"}, "shared"),
    ],
)
def test_settings_that_make_no_sense_are_refused(step, says):
    with pytest.raises(ValidationError, match=says):
        Recipe.model_validate({"name": "x", "steps": [{"id": "store", **step}]})


@pytest.mark.parametrize("step", [StoreCodebook, StoreProduct, StoreResidual])
def test_the_points_of_a_range_are_steps_of_a_recipe_and_take_ever_fewer_bits_a_weight(step):
    points = Recipe.model_validate({"name": "x", "steps": [one.model_dump() for one in step.over_range()]}).steps
    assert points == step.over_range()
    rates = [one.bits * getattr(one, "rounds", 1) / getattr(one, "dim", 1) for one in points]
    assert all(later < earlier for earlier, later in pairwise(rates))


@pytest.mark.parametrize(("form", "bits"), [("codebook", 7), ("product", 11), ("residual", 11)])
def test_a_goal_that_is_missed_is_tried_with_a_bit_more(form, bits):
    step = Recipe.model_validate({"name": "x", "steps": [{"id": "store", "form": form, "bits": bits}]}).steps[0]
    assert step.gentler().bits == {"*": bits + 1}
    assert step.gentler().gentler() is None
    assert step.with_table("bits", {"first": 3}).bits == {"first": 3}
    assert step.with_table("keep", {"first": 0.5}) is None
