"""Bytes by stage: what is left after each, and what each took away."""

from __future__ import annotations

from dataclasses import dataclass

from tersenet.report.record import Record
from tersenet.report.text import escape, exact_bytes, plural, ratio, short_bytes

CODER_NAMES = {"huffman": "Huffman coding", "rans": "rANS coding", "range": "range coding", "raw": "packing"}


@dataclass(frozen=True)
class Level:
    """A row: so many bytes are left. `final` is the file itself, `expected` a size that no file has yet."""

    name: str
    detail: str
    left_bytes: int
    final: bool = False
    expected: bool = False


def levels(record: Record) -> list[Level]:
    """From float32 parameters through the kept stages to the file."""
    found = []
    if record.original_bytes is not None:
        found.append(Level("Original", "parameters as float32", record.original_bytes))
    for stage in record.kept_stages:
        if stage.raw_bytes is not None:
            found.append(Level(f"After {stage.label}", "whole file, not coded yet", stage.raw_bytes))
    coding = CODER_NAMES.get(record.coder, f"{record.coder} coding")
    if record.file_bytes is not None:
        found.append(Level(f"After {coding}", "the file as it lies on disk", record.file_bytes, final=True))
    elif record.kept_stages and record.kept_stages[-1].coded_bytes is not None:
        coded = record.kept_stages[-1].coded_bytes
        found.append(Level(f"With {coding}", "if the run ended here; no result yet", coded, expected=True))
    return found


def draw(record: Record) -> str:
    """An ordered list of rows: the solid part of a bar is what is left, the pale part what the stage took."""
    found = levels(record)
    if not found:
        return '<p class="none">No sizes are recorded.</p>'
    widest = max(level.left_bytes for level in found) or 1
    start = found[0].left_bytes
    rows = []
    for position, level in enumerate(found):
        before = found[position - 1].left_bytes if position else level.left_bytes
        rows.append(_row(level, before, start, widest))
    undone = len(record.stages) - len(record.kept_stages)
    left_out = f'<p class="about">Left out: {plural(undone, "undone stage")}.</p>' if undone else ""
    return f'<ol class="waterfall">{"".join(rows)}</ol>{left_out}'


def _row(level: Level, before: int, start: int, widest: int) -> str:
    left, was = 100 * level.left_bytes / widest, 100 * before / widest
    kind = "bar final" if level.final else "bar expected" if level.expected else "bar"
    change = before - level.left_bytes
    moved = f"{short_bytes(abs(change))} {'less' if change >= 0 else 'more'}" if change else ""
    parts = [f'<rect class="{kind}" width="{max(left, 0.15):.3f}%" height="100%"/>']
    if was > left:
        parts.append(f'<rect class="gone" x="{left:.3f}%" width="{was - left:.3f}%" height="100%"/>')
    elif left > was:
        parts.append(f'<rect class="added" x="{was:.3f}%" width="{left - was:.3f}%" height="100%"/>')
    rate = ratio(start / level.left_bytes) if level.left_bytes else ""
    said = f"{level.name}: {exact_bytes(level.left_bytes)}, {rate} smaller than the original" + (
        f", {moved}" if moved else ""
    )
    return (
        f'<li><div class="what"><b>{escape(level.name)}</b> <span>{escape(level.detail)}</span></div>'
        f'<div class="left"><b>{exact_bytes(level.left_bytes)}</b> <span>{rate}</span></div>'
        f'<svg class="bars" role="img" aria-label="{escape(said)}"><title>{escape(said)}</title>'
        f"{''.join(parts)}</svg></li>"
    )


__all__ = ["Level", "draw", "levels"]
