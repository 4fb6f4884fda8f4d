"""`--bits ip1=3,*=5` and `--keep ip1=0.08,*=0.2`, a value for each layer, first match first; `--target-size 34KB`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tersenet.errors import TersenetError

T = TypeVar("T", int, float)
MAX_BITS = 16
# As the SI has them, and in powers of two where an i says so.
SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def parse_bits(text: str) -> dict[str, int]:
    """Patterns to whole numbers of bits, 1 to 16."""
    return _parse(text, "--bits", int, lambda value: 1 <= value <= MAX_BITS, f"a whole number from 1 to {MAX_BITS}")


def parse_keep(text: str) -> dict[str, float]:
    """Patterns to the share of weights that stays, above 0 and at most 1."""
    return _parse(text, "--keep", float, lambda value: 0 < value <= 1, "a fraction above 0 and at most 1")


def parse_size(text: str) -> int:
    """Bytes from 34000, 34KB, 1.5 MB or 32KiB."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = SIZES.get(found[2].lower()) if found else None
    size = int(float(found[1]) * unit) if found and unit else 0
    if size < 1:
        raise TersenetError(f"--target-size {text!r}: a number of bytes is expected, such as 34000, 34KB or 32KiB")
    return size


def patterns(text: str | None) -> list[str]:
    """The patterns of a setting without the one that catches all."""
    if text is None:
        return []
    found = [part.rpartition("=")[0].strip() or "*" for part in text.split(",")]
    return [pattern for pattern in found if pattern != "*"]


def _parse(text: str, option: str, kind: Callable[[str], T], fits: Callable[[T], bool], expected: str) -> dict[str, T]:
    settings: dict[str, T] = {}
    for part in text.split(","):
        pattern, _, value = part.rpartition("=")
        pattern = pattern.strip() or "*"
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not fits(number):
            raise TersenetError(
                f"{option} {part.strip()!r}: '{value.strip()}' came; expected is {expected}, as in 'layer=value,*=value'"
            )
        if pattern in settings:
            raise TersenetError(f"{option}: '{pattern}' is given twice; the first match counts, so drop one")
        settings[pattern] = number
    return settings
