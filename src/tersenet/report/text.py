"""Numbers and names as a reader sees them: units, thousands separators, everything escaped."""

from __future__ import annotations

import html
from typing import Any

MISSING = "not measured"
# Decimal units, as a file manager and `ls --si` count.
UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
SCALES = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def escape(value: Any) -> str:
    """Text for HTML, in an element or a quoted attribute.

    What cannot be printed, or turns the direction of text, is shown as its code.
    """
    plain = "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in str(value))
    return html.escape(plain)


def count(value: float | int | None) -> str:
    """1,066,440"""
    return MISSING if value is None else f"{value:,.0f}"


def exact_bytes(value: int | None) -> str:
    """1,066,440 bytes"""
    if value is None:
        return MISSING
    return "1 byte" if value == 1 else f"{value:,} bytes"


def short_bytes(value: int | None) -> str:
    """1.07 MB: three digits, decimal units."""
    if value is None:
        return MISSING
    for unit, name in UNITS:
        if value >= unit:
            return f"{_three_digits(value / unit)} {name}"
    return f"{value} B"


def short_count(value: float | int | None) -> str:
    """266 k: three digits and a scale."""
    if value is None:
        return MISSING
    for unit, name in SCALES:
        if value >= unit:
            return f"{_three_digits(value / unit)} {name}"
    return f"{value:,.0f}"


def percent(fraction: float | int | None, digits: int = 2) -> str:
    """98.42 %, from a fraction."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f} %"


def ratio(value: float | None) -> str:
    """40.4x"""
    if value is None:
        return MISSING
    return f"{value:,.0f}×" if value >= 1000 else f"{value:.1f}×"


def points(lost: float | None) -> str:
    """The change of a score in points, said in words; positive is a loss."""
    if lost is None:
        return MISSING
    rounded = round(lost, 2)
    if rounded == 0:
        return "no change"
    return f"{abs(rounded):.2f} points {'lost' if rounded > 0 else 'gained'}"


def seconds(value: float | int | None) -> str:
    """12.3 s, 4 min 5 s, 2 h 3 min."""
    if value is None:
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def plural(n: int, one: str) -> str:
    """1 stage, 2 stages."""
    return f"{n:,} {one}{'' if n == 1 else 's'}"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
