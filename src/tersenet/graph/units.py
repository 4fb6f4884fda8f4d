"""Sets of units that leave together, and reasons why some cannot: union-find with pins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Units = np.ndarray  # of int64, one unit per position


@dataclass(frozen=True)
class Track:
    """The axes of a value that carry units, and the unit at each position: an array with those axes alone.

    An axis that the batch is part of, as its outermost factor, has the positions of one example.
    """

    axes: tuple[int, ...]
    units: Units

    @property
    def axis(self) -> int:
        """The axis of a track that has one."""
        (axis,) = self.axes
        return axis

    def size(self, axis: int) -> int:
        return int(self.units.shape[self.axes.index(axis)])

    def moved(self, place: dict[int, int]) -> Track:
        """The same units, the axes under other numbers."""
        axes = [place[axis] for axis in self.axes]
        order = np.argsort(axes)
        return Track(tuple(axes[one] for one in order), self.units.transpose(order))


class UnitSets:
    """pins   root unit -> why its set cannot go"""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.pins: dict[int, str] = {}
        self._roots: Units | None = None  # of all units, until some are made or joined

    def root(self, unit: int) -> int:
        """The unit that stands for all that were made one with it."""
        while self.parent[unit] != unit:
            self.parent[unit] = self.parent[self.parent[unit]]
            unit = self.parent[unit]
        return unit

    def roots(self, units: Units) -> Units:
        if self._roots is None:
            self._roots = np.array([self.root(unit) for unit in range(len(self.parent))], dtype=np.int64)
        return self._roots[units]

    def why_pinned(self, unit: int) -> str | None:
        return self.pins.get(self.root(unit))

    def fresh(self, count: int) -> Units:
        """New units, each a set of its own."""
        first, self._roots = len(self.parent), None
        self.parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def join(self, some: Units, others: Units) -> None:
        """Make units at equal positions one; what pins either pins both."""
        for one, other in zip(some.ravel().tolist(), others.ravel().tolist()):
            a, b = self.root(one), self.root(other)
            if a != b:
                self._roots = None
                a, b = min(a, b), max(a, b)
                self.parent[b] = a
                if b in self.pins:
                    self.pins.setdefault(a, self.pins.pop(b))

    def pin(self, units: Units, why: str) -> None:
        for unit in units.ravel().tolist():
            self.pins.setdefault(self.root(unit), why)

    def whole(self, track: Track, axes: Iterable[int]) -> Track | None:
        """The track as whole blocks along these axes, which it then no longer has; nothing where no other axis is
        left.
        """
        gone = [axis for axis in track.axes if axis in set(axes)]
        stay = tuple(axis for axis in track.axes if axis not in gone)
        if not gone or not stay:
            return track if stay else None
        order = [track.axes.index(axis) for axis in (*stay, *gone)]
        blocks = track.units.transpose(order)
        blocks = blocks.reshape(*blocks.shape[: len(stay)], -1)
        self.join(np.broadcast_to(blocks[..., :1], blocks.shape), blocks)
        return Track(stay, blocks[..., 0])

    def only(self, track: Track | None, axis: int) -> Track | None:
        """The track as whole blocks along all axes but this one; nothing where it has not this one."""
        if track is None or axis not in track.axes:
            return None
        return self.whole(track, [one for one in track.axes if one != axis])
