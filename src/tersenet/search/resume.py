"""A record of points that is on the disk after each of them, so that the same call goes on with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from typing_extensions import Self

from tersenet.container import atomic_write, read_file
from tersenet.errors import TersenetError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a search keeps, and goes on from.

    fingerprint   of weights, data and all else that a point depends on; points of another one are not mixed in
    source        what was measured, in words
    measure       accuracy (a share), metric (the user's), or loss
    original      the quality before any change, larger is better; minus the loss where `measure` is loss
    examples      how many inputs were scored; None where a metric went through a loader of unknown length
    coder         of the integer streams, by which bytes are counted
    missing       points that were asked for and are not measured, because the time was up
    points        each with a `key` of its own, in the order in which they were measured
    """

    FORMAT: ClassVar[str]
    WHAT: ClassVar[str]

    fingerprint: str
    source: str
    measure: str
    original: float
    examples: int | None
    coder: str
    missing: int
    points: tuple[Any, ...] = ()

    @staticmethod
    def point(given: Any) -> Any:
        """A point from its JSON; a ValueError if it is none."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under keys that stay."""
        return {"format": self.FORMAT} | asdict(self)

    @classmethod
    def from_dict(cls, given: Any, name: str = "record") -> Self:
        """The record back; refused if it is not one."""
        try:
            if given["format"] != cls.FORMAT:
                raise ValueError(f"its format is {given['format']!r}, not {cls.FORMAT!r}")
            values = {field.name: given[field.name] for field in fields(cls)}
            points = tuple(cls.point(one) for one in values.pop("points"))
            others = sum(one for one in values.values() if isinstance(one, (int, float)))
            if not isfinite(values["original"] + others):
                raise ValueError(f"the original's quality is {values['original']}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise TersenetError(f"{name}: not a record of {cls.WHAT} ({what})") from None
        return cls(**values, points=points)

    @classmethod
    def read(cls, path: PathLike) -> Self:
        """The record that `save` wrote; refused if the file holds none."""
        try:
            given = json.loads(read_file(path))
        except ValueError as error:
            raise TersenetError(f"{os.fspath(path)}: not a record of {cls.WHAT} ({error})") from None
        return cls.from_dict(given, os.fspath(path))

    def save(self, path: PathLike) -> None:
        """Write the record as JSON, whole or not at all."""
        atomic_write(path, (json.dumps(self.to_dict(), indent=1) + "\n").encode())


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Record)


def opened(path: PathLike | None, fingerprint: str, kind: type[R], depends_on: str) -> R | None:
    """The record at `path`, or None where there is none. One of another fingerprint is refused."""
    if path is None or not Path(path).exists():
        return None
    record = kind.read(path)
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
    found = replace(record, points=(*record.points, *points), missing=missing)
    if path is not None:
        found.save(path)
    return found
