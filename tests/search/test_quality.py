"""The point on the curve that a goal asks for: found by bisection, chosen on validation data, gone on with when stopped."""

from __future__ import annotations

import shutil
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import Blobs
from torch import nn

import tersenet
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.recipes import GoalNotMet, Recipe, Task, load_recipe
from tersenet.search.quality import Goal, Point, _Search, find_point

RATE = {
    "id": "store",
    "form": "rate",
    "train": {"epochs": 6, "batch_size": 16, "optimiser": "adam", "lr": 0.02},
}


@cache
def _network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 3))
    optimiser, data = torch.optim.Adam(model.parameters(), 0.01), Blobs(0)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(data.x), data.y).backward()
        optimiser.step()
    return capture(model, torch.zeros(2, 12))


def _task(folder, recipe="weights-only", **options):
    if isinstance(recipe, list):
        recipe = Recipe.model_validate({"name": "x", "steps": recipe, "coder": "range"})
    task = {"train": Blobs(0), "validate": Blobs(1), "test": Blobs(2), "provenance": False} | options
    return Task(recipe=load_recipe(recipe), run_dir=folder, **task)


def test_the_file_is_as_large_as_was_asked_for_and_no_point_that_fits_scores_higher(tmp_path):
    goal = Goal(target_bytes=700)
    data, record, folder = find_point(_network(), _task(tmp_path), goal)
    assert 0.5 * 700 < len(data) <= 700
    assert (folder / "result.terse").read_bytes() == data
    points = record.final["points"]
    chosen = [point for point in points if point["chosen"]]
    assert len(chosen) == 1 and chosen[0]["file_bytes"] == len(data)
    assert all(point["score"] <= chosen[0]["score"] for point in points if point["file_bytes"] <= 700)
    assert [point["file_bytes"] for point in points] == sorted(point["file_bytes"] for point in points)
    assert len({point["quality"] for point in points}) == len(points) > 1


def test_the_smallest_file_that_loses_no_more_than_allowed(tmp_path):
    data, record, _ = find_point(_network(), _task(tmp_path), Goal(max_drop=1.5))
    points = record.final["points"]
    assert record.final["drop_points"] <= 1.5
    assert len(data) == min(point["file_bytes"] for point in points if point["drop_points"] <= 1.5)
    assert any(point["file_bytes"] < len(data) for point in points)


def test_a_curve_with_a_knee_is_halved_until_a_file_is_near_the_target(monkeypatch, tmp_path):
    """LeNet-5 by weights alone: below the knee a file is useless, and lines through points to either side end far above."""
    measured = [
        (0, 2_000),
        (9.59, 2_626),
        (15.32, 33_130),
        (15.89, 37_581),
        (21.05, 46_902),
        (25, 52_467),
        (50, 107_811),
        (100, 441_000),
    ]

    def tried(search, quality):
        qualities, sizes = zip(*measured)
        size = round(np.exp(np.interp(quality, qualities, np.log(sizes))))
        point = Point(quality=quality, file_bytes=size, score=size, drop_points=0, test=None, folder="")
        search.found[quality] = point, bytes(size), SimpleNamespace(final={}, save=lambda folder: None)
        return point

    monkeypatch.setattr(_Search, "tried", tried)
    data, _, _ = find_point(_network(), _task(tmp_path), Goal(target_bytes=34_000))
    assert 0.6 * 34_000 < len(data) <= 34_000


def test_what_cannot_be_kept_is_said_with_the_points_that_were_tried(tmp_path):
    with pytest.raises(GoalNotMet, match=r"quality 50: .* bytes, .* points lost"):
        find_point(_network(), _task(tmp_path), Goal(target_bytes=50, points=3))
    with pytest.raises(GoalNotMet):
        find_point(_network(), _task(tmp_path / "both"), Goal(target_bytes=350, max_drop=-20, points=3))


def test_points_of_a_trained_rate_begin_from_a_finer_one(tmp_path):
    begun = {}

    def look(event):
        if event["kind"] == "point":
            begun[event["quality"]] = None

    _, record, _ = find_point(_network(), _task(tmp_path, [RATE]), Goal(target_bytes=200, points=3), look)
    assert len(begun) == 3 and min(begun) < 50
    alone = tersenet.compress(
        _network(),
        recipe=_task(tmp_path, [RATE]).recipe.at_quality(min(begun)),
        train=Blobs(0),
        validate=Blobs(1),
        test=Blobs(2),
        provenance=False,
    )
    coarse = next(point for point in record.final["points"] if point["quality"] == min(begun))
    # The same recipe from the original network ends elsewhere.
    assert (tmp_path / coarse["folder"] / "result.terse").read_bytes() != alone.data


def test_an_interrupted_search_ends_in_the_same_bytes(tmp_path):
    goal = Goal(target_bytes=200, points=3)
    whole, record, _ = find_point(_network(), _task(tmp_path / "whole", [RATE]), goal)

    def stop(event):
        if event["kind"] == "point" and event["number"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_point(_network(), _task(tmp_path / "stopped", [RATE]), goal, stop)
    again, same, _ = find_point(_network(), _task(tmp_path / "stopped", [RATE]), goal)
    assert again == whole and same.final["points"] == record.final["points"]
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("goal", "options", "sentence"),
    [
        (Goal(), {}, "needs a goal"),
        (Goal(target_bytes=0), {}, "give a target of 1 or more"),
        (Goal(max_drop=float("nan")), {}, "such as 0.5"),
        (Goal(max_drop=1, points=0), {}, "give 1 or more"),
        (Goal(max_drop=1), {"validate": None}, "no validation data"),
        (Goal(max_drop=1), {"recipe": "share-code"}, "no step with a quality"),
    ],
)
def test_goals_that_say_nothing_are_refused(goal, options, sentence, tmp_path):
    with pytest.raises(TersenetError, match=sentence):
        find_point(_network(), _task(tmp_path, **options), goal)


def test_the_front_door_searches_where_a_recipe_has_a_quality_and_refuses_what_contradicts_itself():
    data = {"train": Blobs(0), "validate": Blobs(1)}
    small = tersenet.compress(_network(), recipe="weights-only", target_bytes=700, **data)
    assert small.file_bytes <= 700 and small.record.final["points"]
    fine, coarse = (tersenet.compress(_network(), recipe="weights-only", quality=one, **data) for one in (80, 20))
    assert coarse.file_bytes < fine.file_bytes
    assert "points" not in fine.record.final
    with pytest.raises(TersenetError, match="give one of them"):
        tersenet.compress(_network(), recipe="weights-only", quality=10, target_bytes=700, **data)
    with pytest.raises(TersenetError, match="no step with a quality"):
        tersenet.compress(_network(), recipe="share-code", target_bytes=700, **data)
    with pytest.raises(TersenetError, match="0 to 100"):
        tersenet.compress(_network(), recipe="weights-only", quality=101, **data)
