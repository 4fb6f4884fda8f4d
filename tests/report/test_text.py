"""Numbers as a reader sees them."""

from __future__ import annotations

import pytest

from tersenet.report import text


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (26_398, "26.4 kB"), (1_066_440, "1.07 MB"),
     (552_000_000, "552 MB"), (None, "not measured")],
)  # fmt: skip
def test_bytes_have_three_digits_and_decimal_units(value: int | None, said: str) -> None:
    assert text.short_bytes(value) == said


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (0.18, "0.18 points lost"),
        (-1.5, "1.50 points gained"),
        (0.0, "no change"),
        (0.004, "no change"),
        (None, "not measured"),
    ],
)
def test_points_say_which_way(lost: float | None, said: str) -> None:
    assert text.points(lost) == said


@pytest.mark.parametrize(
    ("value", "said"), [(3.21, "3.2 s"), (59.99, "60.0 s"), (75, "1 min 15 s"), (7380, "2 h 3 min")]
)
def test_times_are_in_the_unit_that_fits(value: float, said: str) -> None:
    assert text.seconds(value) == said


def test_escape_leaves_no_markup_and_no_change_of_direction() -> None:
    assert text.escape("<a b='c' d=\"e\">&\u202e\x00") == "&lt;a b=&#x27;c&#x27; d=&quot;e&quot;&gt;&amp;\\u202e\\u0000"
