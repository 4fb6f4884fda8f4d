"""Numbers and tables as a reader wants them: plain text, aligned, never cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NOT_MEASURED = "not measured"


def table(rows: Sequence[Sequence[str]], headers: Sequence[str], right: str = "") -> str:
    """Columns two spaces apart; `right` has an r for each that is aligned to the right, an l for the others."""
    sides = right or "l" * len(headers)
    widths = [max(len(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    lines = []
    for row in [headers, *rows]:
        cells = [
            cell.rjust(width) if side == "r" else cell.ljust(width) for cell, width, side in zip(row, widths, sides)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def percent(score: dict[str, Any] | None, key: str = "accuracy") -> str:
    """A share as "97.72 %"; a metric of the user's as itself."""
    if score is None:
        return NOT_MEASURED
    if score.get(key) is not None:
        return f"{100 * score[key]:.2f} %"
    if score.get("metric") is not None:
        return f"{score['metric']:g}"
    return NOT_MEASURED if score.get("loss") is None else f"loss {score['loss']:.4f}"
