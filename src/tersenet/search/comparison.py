"""What a comparison of forms has measured, as a frozen record; its JSON is the file that it goes on from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from tersenet.container import atomic_write, read_file
from tersenet.errors import TersenetError

FORMAT = "tersenet comparison 1"


@dataclass(frozen=True, kw_only=True)
class ComparedPoint:
    """A network compressed in one way, to one amount.

    line           uniform, codebook, prune, ...: what is varied along a line of the picture
    amount         of it, in words: "bits 4"
    steps          the recipe's steps, as it would be written
    refused        why there is no such network; all numbers are then 0 or None
    file_bytes     length of the file
    rate           float32 bytes of the original's parameters over that
    formula_rate   the papers' n b / (n log2 k + k b) of the weights; None where some are zero and not stored
    quality        of the network that the file holds, as `Comparison.original`
    lost_points    100 x (original - quality)
    top5           a share; None up to ten classes
    seconds        that compression took
    """

    line: str
    amount: str
    steps: tuple[dict[str, Any], ...]
    refused: str = ""
    file_bytes: int = 0
    rate: float = 0.0
    formula_rate: float | None = None
    quality: float = 0.0
    lost_points: float = 0.0
    top5: float | None = None
    seconds: float = 0.0

    @property
    def key(self) -> str:
        return key_of(self.line, self.steps)


def key_of(line: str, steps: tuple[dict[str, Any], ...]) -> str:
    """What tells a point from all others."""
    return json.dumps([line, *steps], sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Quality against bytes for several ways to compress one network.

    fingerprint      of weights, data and all else that a point depends on; points of another one are not mixed in
    source           what was compressed, in words
    measure          accuracy (a share), metric (the user's), or loss
    original         the quality before, larger is better; minus the loss where `measure` is loss
    original_top5    a share; None up to ten classes
    original_bytes   of the parameters as float32
    examples         how many inputs were scored; None where a metric went through a loader of unknown length
    coder            of the integer streams
    missing          points that were asked for and are not measured, because the time was up
    points           in the order in which they were measured
    """

    fingerprint: str
    source: str
    measure: str
    original: float
    original_top5: float | None
    original_bytes: int
    examples: int | None
    coder: str
    missing: int
    points: tuple[ComparedPoint, ...] = ()

    def lines(self) -> dict[str, list[ComparedPoint]]:
        """The points that gave a file, by line as first measured, largest file first."""
        found: dict[str, list[ComparedPoint]] = {}
        for point in self.points:
            if not point.refused:
                found.setdefault(point.line, []).append(point)
        return {line: sorted(points, key=lambda point: -point.file_bytes) for line, points in found.items()}

    def front(self) -> set[str]:
        """Keys of the points that no other one beats in bytes and in quality."""
        found, best = set(), float("-inf")
        files = [point for point in self.points if not point.refused]
        for point in sorted(files, key=lambda point: (point.file_bytes, -point.quality)):
            if point.quality > best:
                found.add(point.key)
                best = point.quality
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under keys that stay."""
        return {"format": FORMAT} | asdict(self)

    @classmethod
    def from_dict(cls, given: Any, name: str = "comparison") -> Comparison:
        """The record back; refused if it is not one."""
        try:
            if given["format"] != FORMAT:
                raise ValueError(f"its format is {given['format']!r}, not {FORMAT!r}")
            values = {field.name: given[field.name] for field in fields(cls)}
            points = tuple(_point(one) for one in values.pop("points"))
            if not isfinite(values["original"] + values["original_bytes"]):
                raise ValueError(f"the original's quality is {values['original']}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise TersenetError(f"{name}: not a record of a comparison ({what})") from None
        return cls(**values, points=points)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON, whole or not at all."""
        atomic_write(path, (json.dumps(self.to_dict(), indent=1) + "\n").encode())


def read_comparison(path: str | os.PathLike[str]) -> Comparison:
    """The record that `save` wrote; refused if the file holds none."""
    try:
        given = json.loads(read_file(path))
    except ValueError as error:
        raise TersenetError(f"{os.fspath(path)}: not a record of a comparison ({error})") from None
    return Comparison.from_dict(given, os.fspath(path))


def _point(given: Any) -> ComparedPoint:
    point = ComparedPoint(**given | {"steps": tuple(given["steps"])})
    if not isfinite(point.file_bytes + point.rate + point.quality + point.lost_points + point.seconds):
        raise ValueError(f"the point {given} is none")
    return point
