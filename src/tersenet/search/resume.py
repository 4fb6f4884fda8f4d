"""A record of points that is on the disk after each of them, so that the same call goes on with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tersenet.errors import TersenetError

PathLike = str | os.PathLike[str]


class Record(Protocol):
    """What a search keeps: a frozen dataclass.

    fingerprint   of all that its points depend on
    missing       points asked for that are not measured
    points        each with a `key` of its own
    """

    @property
    def fingerprint(self) -> str: ...
    @property
    def missing(self) -> int: ...
    @property
    def points(self) -> tuple[Any, ...]: ...
    def save(self, path: PathLike) -> None: ...


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Record)


def opened(path: PathLike | None, fingerprint: str, read: Callable[[PathLike], R], depends_on: str) -> R | None:
    """The record at `path`, or None where there is none. One of another fingerprint is refused."""
    if path is None or not Path(path).exists():
        return None
    record = read(path)
    if record.fingerprint != fingerprint:
        raise TersenetError(
            f"{os.fspath(path)} belongs to other measurements ({depends_on} differ); choose another file or delete it"
        )
    return record


def measure_all(
    record: R,
    asked: Mapping[K, Callable[[], Any]],
    path: PathLike | None,
    budget_s: float | None,
    on_point: Callable[[int, int], None] | None,
) -> R:
    """The record with every point of `asked`, by key, that it does not have yet; saved after each.

    budget_s   seconds after which no other is begun
    on_point   called with the points measured by this call and how many it has to measure
    """
    began = time.monotonic()
    measured = {point.key for point in record.points}
    todo = [measure for key, measure in asked.items() if key not in measured]
    record = _with(record, (), len(todo), path)
    for done, measure in enumerate(todo, 1):
        if budget_s is not None and time.monotonic() - began >= budget_s:
            break
        record = _with(record, (measure(),), len(todo) - done, path)
        if on_point is not None:
            on_point(done, len(todo))
    return record


def check_budget(budget_s: float | None) -> None:
    if budget_s is not None and not budget_s > 0:
        raise TersenetError(f"a budget of {budget_s:g} seconds; give more than 0, or none for as long as it takes")


def check_examples(examples: int | None) -> None:
    if examples is not None and examples < 2:
        raise TersenetError(f"{examples} examples to score on; give 2 or more, or none for all")


def metric_name(metric: Callable[..., float] | None) -> str | None:
    """What tells one metric from another: module and name."""
    if metric is None:
        return None
    return f"{getattr(metric, '__module__', '')}:{getattr(metric, '__qualname__', type(metric).__qualname__)}"


def _with(record: R, points: tuple[Any, ...], missing: int, path: PathLike | None) -> R:
    found = replace(record, points=(*record.points, *points), missing=missing)  # type: ignore[type-var]
    if path is not None:
        found.save(path)
    return found
