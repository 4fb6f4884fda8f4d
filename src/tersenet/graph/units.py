"""Sets of units that leave together, and reasons why some cannot: union-find with pins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Units = np.ndarray  # of int64, one unit per position


@dataclass(frozen=True)
class Track:
    """The axis of a value that carries units, and the unit at each position."""

    axis: int
    units: Units


class UnitSets:
    """pins   root unit -> why its set cannot go"""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.pins: dict[int, str] = {}

    def root(self, unit: int) -> int:
        """The unit that stands for all that were made one with it."""
        while self.parent[unit] != unit:
            self.parent[unit] = self.parent[self.parent[unit]]
            unit = self.parent[unit]
        return unit

    def roots(self, units: Units) -> Units:
        return np.array([self.root(int(unit)) for unit in units], dtype=np.int64)

    def why_pinned(self, unit: int) -> str | None:
        return self.pins.get(self.root(unit))

    def fresh(self, count: int) -> Units:
        """New units, each a set of its own."""
        first = len(self.parent)
        self.parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def join(self, some: Units, others: Units) -> None:
        """Make units at equal positions one; what pins either pins both."""
        for one, other in zip(some, others):
            a, b = self.root(int(one)), self.root(int(other))
            if a != b:
                a, b = min(a, b), max(a, b)
                self.parent[b] = a
                if b in self.pins:
                    self.pins.setdefault(a, self.pins.pop(b))

    def pin(self, units: Units, why: str) -> None:
        for unit in units:
            self.pins.setdefault(self.root(int(unit)), why)
