"""What one answer costs, before and after: operations, memory against caches, energy, power, time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tersenet.report.record import Record, number, rows, size, table
from tersenet.report.text import MISSING, count, escape, exact_bytes, percent, ratio, short_bytes

Cost = dict[str, Any]
RUNNERS = (("torch", "PyTorch"), ("tersenet", "tersenet's runtime"))
WATTS = ((1.0, "W"), (1e-3, "mW"), (1e-6, "µW"))
DASH = "–"
COLUMNS = (
    "Weights",
    "Weights kept",
    "Multiply-adds, original",
    "Multiply-adds, result",
    "Bytes, original",
    "Bytes, result",
    "Energy, original, µJ",
    "Energy, result, µJ",
)
# What a column means.
LEGEND = (
    ("Multiply-adds", "of one example: all of the original's, and the result's that meet a weight which is not zero"),
    ("Bytes", "of the layer's weights in memory while running"),
    ("Energy", "of its multiply-adds and of reading its bytes once"),
)


def draw(record: Record) -> str:
    """The totals of both networks, then both layer by layer."""
    before, after = record.costs
    if not before or not after:
        why = "this run was made before costs were recorded" if record.finished else "the run has not written its file"
        return f'<p class="none">Not measured: {why}.</p>'
    return f"{_totals(before, after)}{_about(before, after)}{_layers(before, after)}"


def _totals(before: Cost, after: Cost) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="n">{escape(was)}</td><td class="n">{escape(now)}</td>'
        f'<td class="n">{escape(times)}</td></tr>'
        for name, was, now, times in total_rows(before, after)
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Costs in total"><table class="costs"><thead><tr>'
        '<th scope="col">One answer</th><th scope="col" class="n">Original</th><th scope="col" class="n">Result</th>'
        f'<th scope="col" class="n">Times less</th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def total_rows(before: Cost, after: Cost) -> list[tuple[str, str, str, str]]:
    """What, before, after, how many times less."""

    def row(name: str, key: str, say: Callable[[Any], str]) -> tuple[str, str, str, str]:
        was, now = number(before.get(key)), number(after.get(key))
        return name, _said(was, say), _said(now, say), _times(was, now)

    rate_hz = number(after.get("rate_hz"))
    found = [
        row("Parameters", "parameters", count),
        row("Weights that are not zero", "nonzeros", count),
        row("Multiply-adds, dense", "macs_dense", count),
        row("Multiply-adds that meet no zero", "macs_effective", count),
        row("FLOPs that meet no zero", "flops_effective", count),
        row("Activations at their peak", "activation_peak_bytes", _bytes),
        row("Weights in memory while running", "weight_bytes", _bytes),
        ("Smallest cache that holds them", _cache(before), _cache(after), ""),
        row("Energy, arithmetic", "arithmetic_uj", _uj),
        row("Energy, reading weights", "memory_uj", _uj),
        row("Energy", "energy_uj", _uj),
        row(f"Power at {_short(rate_hz)} answers a second", "power_w", _power),
    ]
    for key, name in RUNNERS:
        was, now = (table(table(one.get("latency")).get(key)) for one in (before, after))
        if was or now:
            found.append(_time(f"Time in {name}", was, now, "median_ms", lambda ms: f"{ms:.3g} ms"))
            found.append(_time(f"Frames a second in {name}", was, now, "frames_per_s", _frames))
    return found


def _time(name: str, was: Cost, now: Cost, key: str, say: Callable[[Any], str]) -> tuple[str, str, str, str]:
    values = number(was.get(key)), number(now.get(key))
    times = _times(*values) if key == "median_ms" else ""
    return name, _said(values[0], say), _said(values[1], say), times


def _about(before: Cost, after: Cost) -> str:
    said = []
    peak = after.get("activation_peak_layer")
    if isinstance(peak, str) and peak:
        said.append(f"The result's activations take most {peak if peak.startswith('after ') else f'at {peak}'}.")
    in_ours = after.get("runs_in") == "tersenet"
    held = "in the form that tersenet's runtime multiplies from" if in_ours else "as dense tensors in PyTorch"
    said.append(f"The result's weights are counted {held}, the original's as dense tensors in PyTorch.")
    refused = after.get("refused")
    if isinstance(refused, str) and refused:
        said.append(f"tersenet's runtime does not run the file: {refused}.")
    said.append(f"Caches of this machine: {_caches(after)}.")
    said.append(
        "Energy is the model of Horowitz 2014 (45 nm; float multiply-add 4.6 pJ, 32 bits from SRAM 5 pJ, from DRAM 640 pJ), "
        "not a measurement: weights that fit a cache are read from SRAM. Times are medians on one thread, taken in turns."
    )
    return f'<p class="about">{escape(" ".join(said))}</p>'


def _layers(before: Cost, after: Cost) -> str:
    was = {str(row.get("name")): row for row in rows(before.get("layers"))}
    now = {str(row.get("name")): row for row in rows(after.get("layers"))}
    names = list(dict.fromkeys([*was, *now]))
    if not names:
        return '<p class="none">No layer holds a weight.</p>'
    head = "".join(f'<th scope="col" class="n">{escape(name)}</th>' for name in COLUMNS)
    body = "".join(_layer(name, was.get(name, {}), now.get(name, {})) for name in names)
    legend = "".join(f"<dt>{escape(name)}</dt><dd>{escape(why)}</dd>" for name, why in LEGEND)
    return (
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Costs by layer">'
        f'<table class="layers"><thead><tr><th scope="col">Layer</th>{head}</tr></thead><tbody>{body}</tbody>'
        f"<tfoot>{_layer('Total', before, after)}</tfoot></table></div>"
        f'<details><summary>What the columns mean</summary><dl class="legend">{legend}</dl></details>'
    )


def _layer(name: str, was: Cost, now: Cost) -> str:
    weights, kept = number(was.get("weights")), number(now.get("nonzeros"))
    cells = [
        _said(weights, count, DASH),
        percent(kept / weights) if weights and kept is not None else DASH,
        _said(number(was.get("macs_dense")), count, DASH),
        _said(number(now.get("macs_effective")), count, DASH),
        *(_said(number(one.get("weight_bytes")), count, DASH) for one in (was, now)),
        *(_said(number(one.get("energy_uj")), _short, DASH) for one in (was, now)),
    ]
    row = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
    return f'<tr><th scope="row">{escape(name)}</th>{row}</tr>'


def _cache(cost: Cost) -> str:
    fits = cost.get("fits")
    if isinstance(fits, str) and fits:
        return fits
    known = any(size(value) for value in table(cost.get("caches")).values())
    return "none: read from DRAM" if known else "unknown: DRAM assumed"


def _caches(cost: Cost) -> str:
    held = table(cost.get("caches"))
    found = [(name, size(held.get(f"{name.lower()}_bytes"))) for name in ("L1", "L2", "L3")]
    said = [f"{name} {short_bytes(size_bytes)}" for name, size_bytes in found if size_bytes is not None]
    return ", ".join(said) or "unknown"


def _said(value: float | int | None, say: Callable[[Any], str], instead: str = MISSING) -> str:
    return instead if value is None else say(value)


def _times(was: float | int | None, now: float | int | None) -> str:
    return ratio(was / now) if was and now else ""


def _bytes(value: float | int) -> str:
    return exact_bytes(int(value))


def _short(value: float | int | None) -> str:
    return MISSING if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _frames(per_s: float) -> str:
    return count(per_s) if per_s >= 100 else f"{per_s:.3g}"


def _uj(value: float) -> str:
    return f"{_short(value)} µJ"


def _power(value: float) -> str:
    unit, name = next((pair for pair in WATTS if value >= pair[0]), WATTS[-1])
    return f"{value / unit:,.3g} {name}"
