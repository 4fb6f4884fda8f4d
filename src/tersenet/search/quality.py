"""The point that a user asks for on the curve of bytes against errors, found between qualities of a recipe.

READ FIRST
  1. A point is a whole run of the recipe at one quality, 0 to 100, in a folder of its own inside the run folder; which
     points are tried follows from their results alone, so the same call goes on where one was stopped.
  2. Everything is chosen on the validation split. Test scores stand in the record of each point and decide nothing.
  3. Where the recipe can go on from its own result (it trains for fewer bits), a point begins from the nearest one of a
     higher quality instead of the original.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.methods.oneshot import MIDDLE
from tersenet.recipes.run import Event, GoalNotMet, RunRecord, Task, quality_of
from tersenet.recipes.run import run as run_recipe

# A file this share below its target is near enough.
NEAR = 0.02
# Qualities nearer to each other than this make the same file but for chance.
FINEST = 1.0


@dataclass(frozen=True)
class Goal:
    """What the point must keep.

    target_bytes   the most that the file may take
    max_drop       the most points of validation accuracy (or of the metric, times 100) that may be lost
    points         how many qualities are tried at most
    """

    target_bytes: int | None = None
    max_drop: float | None = None
    points: int = 7

    def check(self, task: Task) -> None:
        """Refuse goals that say nothing or cannot be measured."""
        if self.target_bytes is None and self.max_drop is None:
            raise TersenetError("a search needs a goal: a largest file, or a largest drop")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise TersenetError(f"a file of {self.target_bytes} bytes; give a target of 1 or more")
        if self.max_drop is not None and not math.isfinite(self.max_drop):
            raise TersenetError(f"a largest drop of {self.max_drop}; give a number of points, such as 0.5")
        if self.points < 1:
            raise TersenetError(f"{self.points} points to try; give 1 or more")
        if task.validate is None:
            raise TersenetError("a point is chosen by its validation accuracy, and no validation data was given")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One quality, and what came of it. `score` is what the choice is made by: larger is better."""

    quality: float
    file_bytes: int
    score: float
    drop_points: float
    test: dict[str, Any] | None
    folder: str
    chosen: bool = False


def find_point(
    network: Network, task: Task, goal: Goal, on_event: Event | None = None
) -> tuple[bytes, RunRecord, Path]:
    """The file, the record and the run folder of the best point that keeps the goal; the record lists all points tried.

    With `target_bytes` the best is that of the highest score, else the smallest file. `task.run_dir` holds a folder for
    each quality. Raises GoalNotMet where no point tried keeps the goal.
    """
    goal.check(task)
    search = _Search(network, task, goal, on_event or (lambda event: None))
    low, high, quality = 0.0, 100.0, float(MIDDLE)
    moved: list[bool] = []
    for _ in range(goal.points):
        point = search.tried(quality)
        finer = point.file_bytes <= goal.target_bytes if goal.target_bytes is not None else not search.keeps(point)
        low, high = (quality, high) if finer else (low, quality)
        if search.near(point) or high - low < FINEST:
            break
        moved.append(finer)
        # Where the curve bends, lines come nearer from one side alone and leave the other bound where it is.
        stuck = moved[-2:] == [finer, finer] and (not finer) in moved
        quality = search.between(low, high, halve=stuck)
    return search.best()


class _Search:
    def __init__(self, network: Network, task: Task, goal: Goal, on_event: Callable[[dict[str, Any]], None]) -> None:
        self.network, self.task, self.goal, self.on_event = network, task, goal, on_event
        self.found: dict[float, tuple[Point, bytes, RunRecord]] = {}

    def tried(self, quality: float) -> Point:
        recipe = self.task.recipe.at_quality(quality)
        folder = self.task.run_dir / f"quality-{quality:g}"
        begin = None
        finer = [one for one in self.found if one > quality]
        if finer and recipe.steps[0].goes_on:
            begin = self.task.run_dir / self.found[min(finer)][0].folder / "result.terse"
        self.on_event({"kind": "point", "quality": quality, "number": len(self.found) + 1, "points": self.goal.points})
        task = replace(self.task, recipe=recipe, run_dir=folder, max_drop=None, begin=begin)
        data, record = run_recipe(self.network, task, self.on_event)
        point = Point(
            quality=quality,
            file_bytes=len(data),
            score=quality_of(record.final["validate"]),
            drop_points=record.final["drop_points"],
            test=record.final["test"],
            folder=folder.name,
        )
        self.found[quality] = point, data, record
        return point

    def between(self, low: float, high: float, *, halve: bool) -> float:
        """The quality to try next: where a line through the two nearest points, of logarithms of bytes against quality,
        meets the target; the middle with `halve`, or where two points are not there or the goal is no size.
        """
        target = self.goal.target_bytes
        middle = (low + high) / 2
        near = sorted(self.found, key=lambda one: abs(one - middle))[:2]
        if target is not None and len(near) == 2 and not halve:
            aim = math.log(target * (1 - NEAR / 2))
            (a, x), (b, y) = ((one, math.log(self.found[one][0].file_bytes)) for one in near)
            if x != y:
                room = (high - low) / 10
                middle = min(max(a + (aim - x) * (b - a) / (y - x), low + room), high - room)
        return round(middle, 2)

    def keeps(self, point: Point) -> bool:
        goal = self.goal
        small = goal.target_bytes is None or point.file_bytes <= goal.target_bytes
        return small and (goal.max_drop is None or point.drop_points <= goal.max_drop)

    def near(self, point: Point) -> bool:
        target = self.goal.target_bytes
        return target is not None and (1 - NEAR) * target <= point.file_bytes <= target

    def best(self) -> tuple[bytes, RunRecord, Path]:
        points = [point for point, _, _ in self.found.values()]
        kept = [point for point in points if self.keeps(point)]
        if not kept:
            said = "; ".join(
                f"quality {one.quality:g}: {one.file_bytes:,} bytes, {one.drop_points:.2f} points lost"
                for one in points
            )
            raise GoalNotMet(
                f"no point that was tried keeps the goal ({said}). Nothing was written; {self.task.run_dir} has them all"
            )
        if self.goal.target_bytes is not None:
            best = max(kept, key=lambda one: (one.score, -one.file_bytes))
        else:
            best = min(kept, key=lambda one: (one.file_bytes, -one.score))
        _, data, record = self.found[best.quality]
        by_size = sorted(points, key=lambda one: one.file_bytes)
        record.final["points"] = [asdict(replace(one, chosen=one is best)) for one in by_size]
        folder = self.task.run_dir / best.folder
        record.save(folder)
        return data, record, folder
