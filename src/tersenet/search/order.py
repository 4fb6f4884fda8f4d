"""In which order levels are measured, so that a search that is stopped has seen the whole range."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T", int, float)


def coarse_first(levels: Sequence[T]) -> list[T]:
    """The different levels: the middle one, then the middles of what lies on both sides, and so on."""
    ordered = sorted(set(levels), reverse=True)
    found = []
    parts = deque([(0, len(ordered))])
    while parts:
        low, high = parts.popleft()
        if low < high:
            middle = (low + high) // 2
            found.append(ordered[middle])
            parts += [(low, middle), (middle + 1, high)]
    return found
