"""What was measured, as a frozen record; its JSON is the file in which a search is kept and goes on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from tersenet.container import atomic_write, read_file
from tersenet.errors import TersenetError
from tersenet.search.alone import METHODS

FORMAT = "tersenet sensitivity 1"
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
class Sensitivity:
    """How much quality each layer's change alone costs.

    fingerprint   of weights, data and all else that a score depends on; points of another one are not mixed in
    source        what was measured, in words
    measure       accuracy (a share), metric (the user's), or loss
    original      the quality before any change, larger is better; minus the loss where `measure` is loss
    examples      how many inputs were scored; None where a metric went through a loader of unknown length
    coder         by which bytes are counted
    batchnorm     whether running statistics were estimated anew after each change
    missing       points that were asked for and are not measured, because the time was up
    points        in the order in which they were measured
    """

    fingerprint: str
    source: str
    measure: str
    original: float
    examples: int | None
    coder: str
    batchnorm: bool
    missing: int
    points: tuple[Point, ...] = ()

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under keys that stay."""
        return {"format": FORMAT} | asdict(self)

    @classmethod
    def from_dict(cls, given: Any, name: str = "sensitivity") -> Sensitivity:
        """The record back; refused if it is not one."""
        try:
            if given["format"] != FORMAT:
                raise ValueError(f"its format is {given['format']!r}, not {FORMAT!r}")
            values = {field.name: given[field.name] for field in fields(cls)}
            points = tuple(_point(one) for one in values.pop("points"))
            if not isfinite(values["original"]):
                raise ValueError(f"the original's quality is {values['original']}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise TersenetError(f"{name}: not a record of sensitivity ({what})") from None
        return cls(**values, points=points)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record as JSON, whole or not at all."""
        atomic_write(path, (json.dumps(self.to_dict(), indent=1) + "\n").encode())


def read_sensitivity(path: str | os.PathLike[str]) -> Sensitivity:
    """The record that `save` wrote; refused if the file holds none."""
    try:
        given = json.loads(read_file(path))
    except ValueError as error:
        raise TersenetError(f"{os.fspath(path)}: not a record of sensitivity ({error})") from None
    return Sensitivity.from_dict(given, os.fspath(path))


def _point(given: Any) -> Point:
    point = Point(**given | {"layers": tuple(given["layers"])})
    numbers = (point.level, point.quality, point.lost_points, point.bytes_saved, point.seconds)
    if point.method not in METHODS or not point.layers or not isfinite(sum(numbers)):
        raise ValueError(f"the point {given} is none")
    return point
