"""The four numbers that come first: size, accuracy, operations, latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tersenet.report.record import Record, number, rows, size, table
from tersenet.report.text import (
    MISSING,
    count,
    escape,
    exact_bytes,
    percent,
    points,
    ratio,
    short_bytes,
    short_count,
)


@dataclass(frozen=True)
class Tile:
    """before -> after in large, the gain beside it, and the exact numbers below. Empty parts are left out.

    worse   the gain is a loss
    """

    name: str
    before: str
    after: str
    gain: str
    detail: str
    worse: bool = False


def tiles(record: Record) -> list[Tile]:
    return [_size(record), _accuracy(record), _operations(record), _latency(record)]


def draw(record: Record) -> str:
    return row(tiles(record))


def row(tiles: list[Tile]) -> str:
    return f'<div class="tiles">{"".join(_tile(tile) for tile in tiles)}</div>'


def _tile(tile: Tile) -> str:
    change = f'<span class="was">{escape(tile.before)} <span aria-label="to">→</span></span> ' if tile.before else ""
    kind = "gain worse" if tile.worse else "gain"
    gain = f'<p class="{kind}">{escape(tile.gain)}</p>' if tile.gain else ""
    missing = " missing" if tile.after == MISSING else ""
    return (
        f'<section class="tile{missing}"><h3>{escape(tile.name)}</h3>'
        f'<p class="value">{change}<strong>{escape(tile.after)}</strong></p>{gain}'
        f'<p class="detail">{escape(tile.detail)}</p>'
        "</section>"
    )


def _size(record: Record) -> Tile:
    before, after = record.original_bytes, record.file_bytes
    if after is None:
        return _size_so_far(record)
    if not before:
        return Tile("Size", "", short_bytes(after), "", exact_bytes(after))
    return Tile(
        "Size",
        short_bytes(before),
        short_bytes(after),
        f"{ratio(before / after)} smaller" if after else "",
        f"{before:,} → {exact_bytes(after)}, the whole file against float32 parameters",
    )


def _size_so_far(record: Record) -> Tile:
    before, stage = record.original_bytes, record.last_kept
    after = None if stage is None else stage.coded_bytes
    if stage is None or not after:
        return Tile("Size", short_bytes(before), MISSING, "", "the run has not written its file yet")
    gain = f"{ratio(before / after)} smaller" if before else ""
    return Tile("Size so far", short_bytes(before), short_bytes(after), gain, f"after {stage.label}; no file yet")


def scores(record: Record, split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A split's scores before and after."""
    return table(record.original_scores.get(split)), table(record.final.get(split))


def _accuracy(record: Record) -> Tile:
    """What the run was judged by: the user's own metric, else accuracy, else loss; test before validation."""
    for kind, name in (("metric", "Metric"), ("accuracy", "Accuracy"), ("loss", "Loss")):
        for split, called in (("test", "test set"), ("validate", "validation set")):
            before, after = (number(part.get(kind)) for part in scores(record, split))
            where = called
            if after is None and not record.finished and split == "validate" and record.last_kept is not None:
                after = number(record.last_kept.scores.get(kind))
                where = f"{called} after {record.last_kept.label}; no result yet"
            if after is None:
                continue
            examples = size(scores(record, split)[1].get("examples"))
            where += f", {count(examples)} examples" if examples is not None else ""
            if before is None:
                return Tile(name, "", score_text(kind, after), "", f"{where}; the original was {MISSING}")
            was, now = score_text(kind, before), score_text(kind, after)
            worse = after > before if kind == "loss" else after < before
            return Tile(name, was, now, _change(kind, before, after), where, worse)
    return Tile("Accuracy", "", MISSING, "", _why_no_accuracy(record))


def score_text(kind: str, value: float) -> str:
    """Accuracies as percent, all else as it is."""
    return percent(value) if kind in ("accuracy", "top5") else f"{value:.4f}"


def _change(kind: str, before: float, after: float) -> str:
    if kind != "loss":
        return points(100 * (before - after))
    return (
        "no change"
        if round(after - before, 4) == 0
        else f"{abs(after - before):.4f} {'higher' if after > before else 'lower'}"
    )


def _why_no_accuracy(record: Record) -> str:
    return "no validation or test data was given" if record.finished else "the result is not there yet"


def _operations(record: Record) -> Tile:
    dense, effective = operation_sums(record)
    if dense is None or effective is None:
        return Tile("Operations", "", MISSING, "", "multiply-adds of one example")
    times = ratio(dense / effective) if effective else ""
    gain = "no change" if times == ratio(1.0) else f"{times} fewer" if times else ""
    exact = f"{count(dense)} → {count(effective)}"
    detail = f"{exact} for one example; only weights that are not zero count after"
    return Tile("Operations, multiply-adds", short_count(dense), short_count(effective), gain, detail)


def operation_sums(record: Record) -> tuple[float | None, float | None]:
    """Multiply-adds of one example: all of the original's, and those of the result whose weight is not zero.

    None if any layer lacks them. Runs that are older than `cost` have them by layer of the result.
    """
    was, now = (number(one.get(key)) for one, key in zip(record.costs, ("macs_dense", "macs_effective")))
    if was is not None and now is not None:
        return was, now
    dense: list[float | None] = []
    effective: list[float | None] = []
    for row in rows(record.final.get("operations")):
        macs = number(row.get("macs_dense"))
        dense.append(macs)
        effective.append(_effective(row, macs))
    original = record.final.get("original")
    before = number(original.get("macs")) if isinstance(original, dict) else None
    return before if before is not None else _sum(dense), _sum(effective)


def _effective(row: dict[str, Any], macs: float | None) -> float | None:
    given = number(row.get("macs_effective"))
    weights, nonzeros = number(row.get("weights")), number(row.get("nonzeros"))
    if given is not None or macs is None or weights is None or nonzeros is None:
        return given
    density = number(row.get("input_density"))
    return macs * (nonzeros / weights if weights > 0 else 1.0) * (1.0 if density is None else density)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def _latency(record: Record) -> Tile:
    original, result, detail = _times(record)
    before, after = number(original.get("median_ms")), number(result.get("median_ms"))
    if not before or not after:
        return Tile("Latency", "", MISSING, "", "no speed-up is claimed that was not timed")
    if repeats := size(result.get("repeats")):
        detail = f"median of {count(repeats)} calls, {detail}"
    spread_ms = max((number(one.get("spread")) or 0) * ms for one, ms in ((original, before), (result, after)))
    if abs(before - after) <= spread_ms:
        return Tile("Latency", f"{before:.3g}", f"{after:.3g} ms", "no clear change", detail)
    slower = after > before
    gain = f"{ratio(after / before)} slower" if slower else f"{ratio(before / after)} faster"
    return Tile("Latency", f"{before:.3g}", f"{after:.3g} ms", gain, detail, slower)


def _times(record: Record) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Latency before and after, and who ran what: the file in our runtime where it runs there."""
    before, after = (table(one.get("latency")) for one in record.costs)
    if found := table(after.get("tersenet")):
        said = "one example on one thread: the original in PyTorch, the file in tersenet's runtime"
        return table(before.get("torch")), found, said
    said = "one example on one thread in PyTorch, where a file runs as dense as it was"
    if before or after:
        return table(before.get("torch")), table(after.get("torch")), said
    older = table(record.final.get("latency"))
    return table(older.get("original")), table(older.get("result")), said
