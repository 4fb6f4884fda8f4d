"""Scales and ticks at the values that hurt."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tersenet.report.svg import Scale, tick_text, ticks


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (-0.3, 0.41), (0, 12), (0, 1e-7), (1e9, 1e9 + 1), (-5, -4.999), (0, 3e20), (97.1, 97.2), (0, 2)],
)
def test_ticks_are_a_few_even_steps_inside_the_range(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 8
    slack = 1e-6 * (high - low)
    assert all(low - slack <= mark <= high + slack for mark in found)
    steps = [b - a for a, b in pairwise(found)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


def test_a_range_without_width_has_one_tick_and_maps_to_the_middle() -> None:
    assert ticks(3, 3) == [3] and Scale(3, 3, 0, 10)(3) == 5


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [
        (0.25, 0.25, "0.25"),
        (2.5, 2.5, "2.5"),
        (0.5, 0.1, "0.5"),
        (20, 10, "20"),
        (1000, 500, "1,000"),
        (-0.025, 0.025, "-0.025"),
    ],
)
def test_ticks_have_just_the_digits_their_step_needs(value: float, step: float, text: str) -> None:
    assert tick_text(value, step) == text
