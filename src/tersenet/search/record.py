"""What was measured, as a frozen record; its JSON is the file in which a search is kept and goes on."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

from tersenet.search.alone import METHODS
from tersenet.search.resume import Record

BYTES_A_KB = 1000


@dataclass(frozen=True, kw_only=True)
class Point:
    """One layer, or group of coupled layers, alone at one level.

    method        prune, bits, channels or rank
    layers        that changed, in forward order; the first one's name stands for them
    level         prune, channels, rank: the share that stays; bits: bits a weight
    quality       as `Sensitivity.original`
    lost_points   100 x (original - quality); below 0 where it got better
    bytes_saved   coded bytes of the tensors that changed, before minus after
    seconds       that the measurement took
    """

    method: str
    layers: tuple[str, ...]
    level: float
    quality: float
    lost_points: float
    bytes_saved: int
    seconds: float

    @property
    def name(self) -> str:
        return self.layers[0]

    @property
    def lost_points_per_kb(self) -> float | None:
        """Points lost for each 1000 bytes saved; None where nothing was saved."""
        return BYTES_A_KB * self.lost_points / self.bytes_saved if self.bytes_saved > 0 else None

    @property
    def key(self) -> tuple[str, str, float]:
        return self.method, self.name, self.level


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Record):
    """How much quality each layer's change alone costs.

    batchnorm   whether running statistics were estimated anew after each change
    """

    FORMAT: ClassVar[str] = "tersenet sensitivity 1"
    WHAT: ClassVar[str] = "sensitivity"

    batchnorm: bool
    points: tuple[Point, ...] = ()

    @staticmethod
    def point(given: Any) -> Point:
        point = Point(**given | {"layers": tuple(given["layers"])})
        numbers = (point.level, point.quality, point.lost_points, point.bytes_saved, point.seconds)
        if point.method not in METHODS or not point.layers or not isfinite(sum(numbers)):
            raise ValueError(f"the point {given} is none")
        return point

    def of(self, method: str) -> dict[str, list[Point]]:
        """The points of a method by layer, in forward order of what was measured, gentlest level first."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            if point.method == method:
                found.setdefault(point.name, []).append(point)
        return {name: sorted(points, key=lambda point: -point.level) for name, points in found.items()}

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(method for method in METHODS if self.of(method))

    def threshold(self, method: str, name: str, tolerance: float) -> Point | None:
        """The point of the lowest measured level that loses at most `tolerance` points, or None. No interpolation."""
        fitting = [point for point in self.of(method).get(name, []) if point.lost_points <= tolerance]
        return fitting[-1] if fitting else None


read_sensitivity = Sensitivity.read
