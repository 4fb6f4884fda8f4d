"""Sensitivity is the damage of each change alone; a search can be stopped anywhere and goes on to the same record."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.search import read_sensitivity, sensitivity
from tersenet.search.alone import changed
from tersenet.training.evaluate import evaluate

FEW = {"levels": (0.5, 0.1), "bits": (4, 1)}


def bare(record):
    """The record without the seconds, which no run has twice."""
    return replace(record, points=tuple(replace(point, seconds=0.0) for point in record.points))


@pytest.fixture(scope="module")
def whole(trained, validate):
    return sensitivity(trained, validate, methods=("prune", "bits", "channels"), **FEW)


def test_every_layer_or_group_is_measured_at_every_level(whole):
    assert whole.missing == 0 and len(whole.points) == 2 * (5 + 5 + 3)
    assert len({point.key for point in whole.points}) == len(whole.points)


def test_each_point_is_the_score_of_the_changed_network_and_what_it_lost(whole, network, validate):
    assert whole.measure == "accuracy" and whole.original == evaluate(network, validate).accuracy > 0.8
    for point in whole.points:
        after, _ = changed(network, point.method, point.layers, point.level, seed=0)
        assert point.quality == evaluate(after, validate).accuracy
        assert point.lost_points == pytest.approx(100 * (whole.original - point.quality))
    assert max(point.lost_points for point in whole.points) > 5


@pytest.mark.parametrize("coder", ["huffman", "range"])
def test_bytes_saved_are_those_by_which_the_file_is_shorter(trained, validate, coder):
    found = sensitivity(trained, validate, methods=("prune", "bits", "channels"), coder=coder, levels=(0.2,), bits=(2,))
    before = len(artifact.to_bytes(trained, coder))
    for point in found.points:
        after, _ = changed(trained, point.method, point.layers, point.level, seed=0)
        # The lengths of tensors are in the file too, in one byte or two.
        assert before - len(artifact.to_bytes(after, coder)) == pytest.approx(point.bytes_saved, abs=12)
        assert point.bytes_saved > 0


def test_coarse_levels_of_all_layers_and_methods_come_before_finer_ones(trained, validate):
    found = sensitivity(trained, validate, levels=(0.9, 0.5, 0.1), bits=(8, 4, 1))
    first = found.points[: len(found.points) // 3]
    assert {point.level for point in first} == {0.5, 4}
    assert {point.name for point in first if point.method == "bits"} == {"first", "inside", "back", "hidden", "last"}


def test_a_search_that_ran_out_of_time_goes_on_to_the_same_record(whole, trained, validate, tmp_path):
    path = tmp_path / "s.json"
    calls = 0
    while True:
        part = sensitivity(
            trained,
            validate,
            methods=("prune", "bits", "channels"),
            budget_s=1e-9 if calls == 0 else 0.05,
            path=path,
            **FEW,
        )
        calls += 1
        assert read_sensitivity(path) == part and len(part.points) + part.missing == len(whole.points)
        if not part.missing:
            break
    assert calls > 1 and bare(part) == bare(whole)


def test_a_search_that_was_interrupted_goes_on_and_measures_nothing_twice(whole, trained, validate, tmp_path):
    path = tmp_path / "s.json"

    def stop(done: int, of: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    request = {"methods": ("prune", "bits", "channels"), "path": path, **FEW}
    with pytest.raises(KeyboardInterrupt):
        sensitivity(trained, validate, on_point=stop, **request)
    assert len(read_sensitivity(path).points) == 4
    seen = []
    found = sensitivity(trained, validate, on_point=lambda done, of: seen.append((done, of)), **request)
    assert seen == [(done, len(whole.points) - 4) for done in range(1, len(whole.points) - 3)]
    assert bare(found) == bare(whole)
    before = path.read_bytes()
    assert sensitivity(trained, validate, **request) == found
    assert path.read_bytes() == before


def test_other_levels_join_what_is_there(trained, validate, tmp_path):
    path = tmp_path / "s.json"
    request = {"methods": ("prune",), "where": "hidden", "path": path}
    sensitivity(trained, validate, levels=(0.5,), **request)
    found = sensitivity(trained, validate, levels=(0.5, 0.2), **request)
    assert [point.level for point in found.points] == [0.5, 0.2]


@pytest.mark.parametrize("differs", ["weights", "data", "examples", "metric", "coder", "batchnorm", "seed"])
def test_another_search_s_file_is_refused_and_left_alone(differs, trained, network, validate, train, tmp_path):
    path = tmp_path / "s.json"
    request = {"methods": ("prune",), "levels": (0.5,), "where": "hidden", "path": path}
    sensitivity(trained, validate, **request)
    before = path.read_bytes()
    data = validate
    if differs == "weights":
        network.set_tensor("hidden.weight", network.dense("hidden.weight") + 1e-6)
    elif differs == "data":
        data = train
    else:
        other = {"examples": 50, "metric": _always, "coder": "raw", "batchnorm": train, "seed": 1}
        request[differs] = other[differs]
    with pytest.raises(TersenetError, match="s.json belongs to other measurements"):
        sensitivity(network, data, **request)
    assert path.read_bytes() == before


def _always(model, loader):
    return 0.25


def test_a_metric_takes_the_place_of_accuracy(trained, validate):
    found = sensitivity(trained, validate, methods=("prune",), levels=(0.5,), metric=_always)
    assert found.measure == "metric" and found.original == 0.25
    assert {point.lost_points for point in found.points} == {0.0}


def test_without_labels_the_loss_is_what_may_not_grow(trained, validate):
    with torch.no_grad():
        loader = [(validate.x, trained(validate.x))]
    found = sensitivity(trained, loader, methods=("prune",), levels=(0.05,))
    assert found.measure == "loss" and found.original == pytest.approx(0, abs=1e-9)
    assert all(point.quality < 0 < point.lost_points for point in found.points)


def test_examples_are_the_same_for_the_same_seed(trained, validate):
    request = {"methods": ("prune",), "levels": (0.1,), "examples": 40}
    one, other = (sensitivity(trained, validate, **request) for _ in range(2))
    assert one.examples == 40 and bare(one) == bare(other)


def test_batchnorm_set_right_repairs_what_lies_before_it(trained, validate, train):
    """The first layer loses half of its weights; the statistics of its BatchNorm were those of all of them."""
    request = {"methods": ("prune",), "levels": (0.2,), "where": "[f]irst"}
    plain, right = (sensitivity(trained, validate, batchnorm=given, **request) for given in (None, train))
    assert right.batchnorm and right.original == plain.original
    after, _ = changed(trained, "prune", ("first",), 0.2, seed=0)
    assert plain.points[0].quality == evaluate(after, validate).accuracy
    assert right.points[0].quality != plain.points[0].quality


def test_a_network_with_forms_is_measured_from_what_it_holds(network, validate):
    held, _ = changed(network, "bits", ("hidden",), 3, seed=0)
    found = sensitivity(held, validate, methods=("bits",), bits=(1,), where="hidden")
    assert 0 < found.points[0].bytes_saved < 100
    assert held.form("hidden.weight") is not None


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"where": "conv*"}, "no layer matches 'conv\\*'"),
        ({"methods": ("tucker",)}, "'tucker' is not there; present are"),
        ({"levels": (0.5, 0)}, "a level of 0"),
        ({"levels": ()}, "prune: there is no level"),
        ({"budget_s": 0}, "a budget of 0 seconds"),
        ({"budget_s": -1.0}, "a budget of -1 seconds"),
        ({"budget_s": float("nan")}, "a budget of nan seconds"),
        ({"examples": 1}, "1 examples to score on"),
        ({"data": []}, "empty"),
    ],
)
def test_what_cannot_be_measured_is_refused(request_, sentence, trained, validate, tmp_path):
    path = tmp_path / "s.json"
    request = {"data": validate, "path": path} | request_
    with pytest.raises(TersenetError, match=sentence):
        sensitivity(trained, request.pop("data"), **request)
    assert not path.exists()


def test_weights_that_are_not_finite_are_refused(network, validate):
    weight = network.dense("hidden.weight").clone()
    weight[0, 0] = float("nan")
    network.set_tensor("hidden.weight", weight)
    with pytest.raises(TersenetError, match="'hidden.weight' holds 1 NaN"):
        sensitivity(network, validate)


def test_a_folder_that_is_missing_is_refused(trained, validate, tmp_path):
    with pytest.raises(TersenetError, match="cannot be written"):
        sensitivity(trained, validate, path=tmp_path / "no" / "s.json")
