"""What a comparison of forms has measured, as a frozen record; its JSON is the file that it goes on from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from tersenet.search.resume import Record


@dataclass(frozen=True, kw_only=True)
class ComparedPoint:
    """A network compressed in one way, to one amount.

    line           uniform, codebook, prune, ...: what is varied along a line of the picture
    amount         of it, in words: "bits 4"
    steps          the recipe's steps, as it would be written
    refused        why there is no such network; all numbers are then 0 or None
    file_bytes     length of the file
    rate           float32 bytes of the original's parameters over that
    formula_rate   the same bytes over those by the formula of each form, (n log2 k + k b) / 8 for shared values; None
                   after pruning, and where some weights are zero and not stored
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
class Comparison(Record):
    """Quality against bytes for several ways to compress one network.

    original_top5    a share; None up to ten classes
    original_bytes   of the parameters as float32
    """

    FORMAT: ClassVar[str] = "tersenet comparison 1"
    WHAT: ClassVar[str] = "a comparison"

    original_top5: float | None
    original_bytes: int
    points: tuple[ComparedPoint, ...] = ()

    @staticmethod
    def point(given: Any) -> ComparedPoint:
        point = ComparedPoint(**given | {"steps": tuple(given["steps"])})
        if not isfinite(point.file_bytes + point.rate + point.quality + point.lost_points + point.seconds):
            raise ValueError(f"the point {given} is none")
        return point

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


read_comparison = Comparison.read
