"""What a network costs, to read: a line for each layer, then the totals."""

from __future__ import annotations

from typing import Any

from tersenet.cli.text import table

CACHES = ("l1", "l2", "l3")


def measurement_text(record: dict[str, Any]) -> str:
    """Of a Measurement's record."""
    headers = ["layer", "parameters", "weights", "non-zero", "kept", "MACs", "effective", "inputs", "bytes", "uJ"]
    layers = table([_layer(row["name"], row) for row in [*record["layers"], _total(record)]], headers, "l" + "r" * 9)
    lines = _totals(record)
    width = max(len(name) for name, _, _ in lines)
    return "\n".join([layers, "", *(f"{name:<{width}}  {said}" for name, said, _ in lines), "", _remarks(record)])


def comparison_text(record: dict[str, Any], before_name: str, after_name: str) -> str:
    """Of a Comparison's record and the names of both: before, after, and how many times less."""
    before, after = record["before"], record["after"]
    was, now = ({row["name"]: row for row in one["layers"]} for one in (before, after))
    rows = [_pair(name, was.get(name), now.get(name)) for name in dict.fromkeys([*was, *now])]
    rows.append(_pair("total", _total(before), _total(after)))
    headers = ["layer", "weights", "kept", "MACs", "effective", "inputs", "bytes", "after", "uJ", "after"]
    lines = _totals(before), _totals(after)
    said = [{name: text for name, text, _ in one} for one in lines]
    keys = {name: key for one in reversed(lines) for name, _, key in one}
    totals = [
        [name, *(one.get(name, "-") for one in said), _times(record["ratios"].get(key))] for name, key in keys.items()
    ]
    totals.append(["latency, the fastest of each", "", "", _times(record["ratios"]["latency_ms"])])
    names = f"before  {before_name}\nafter   {after_name}"
    text = table(rows, headers, "l" + "r" * 9), table(totals, ["", "before", "after", "times less"], "lllr")
    return "\n\n".join([names, *text, _remarks(after)])


def _total(record: dict[str, Any]) -> dict[str, Any]:
    density = record["nonzeros"] / max(record["weights"], 1)
    return record | {"name": "total", "weight_density": density, "input_density": None}


def _layer(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{row['parameters']:,}",
        f"{row['weights']:,}",
        f"{row['nonzeros']:,}",
        _percent(row["weight_density"]) if row["weights"] else "-",
        f"{row['macs_dense']:,}",
        f"{row['macs_effective']:,.0f}",
        _inputs(row),
        f"{row['weight_bytes']:,}",
        f"{row['energy_uj']:.4g}",
    ]


def _pair(name: str, was: dict[str, Any] | None, now: dict[str, Any] | None) -> list[str]:
    """A layer that one of the two lacks has dashes there."""
    return [
        name,
        "-" if was is None else f"{was['weights']:,}",
        _percent(now["nonzeros"] / was["weights"]) if was is not None and now is not None and was["weights"] else "-",
        "-" if was is None else f"{was['macs_dense']:,}",
        "-" if now is None else f"{now['macs_effective']:,.0f}",
        "-" if now is None else _inputs(now),
        *("-" if one is None else f"{one['weight_bytes']:,}" for one in (was, now)),
        *("-" if one is None else f"{one['energy_uj']:.4g}" for one in (was, now)),
    ]


def _totals(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What, how much, and the name of its ratio where it has one."""
    held = "tersenet's runtime" if record["runs_in"] == "tersenet" else "dense tensors"
    rows = [
        ("parameters", f"{record['parameters']:,}", "parameters"),
        ("non-zero weights", f"{record['nonzeros']:,}", "nonzeros"),
        ("MACs", f"{record['macs_dense']:,}", "macs_dense"),
        ("MACs, effective", f"{record['macs_effective']:,.0f}", "macs_effective"),
        ("FLOPs", f"{record['flops_dense']:,}", "macs_dense"),
        ("FLOPs, effective", f"{record['flops_effective']:,.0f}", "macs_effective"),
        (
            "activations, peak",
            f"{record['activation_peak_bytes']:,} bytes, {record['activation_peak_layer']}",
            "activation_peak_bytes",
        ),
        ("weights, running", f"{record['weight_bytes']:,} bytes, {held}", "weight_bytes"),
        ("weights, dense", f"{record['dense_bytes']:,} bytes", ""),
    ]
    if record["file_bytes"] is not None:
        rows.append(("file", f"{record['file_bytes']:,} bytes", "file_bytes"))
    rows += [
        ("cache that holds them", record["fits"] or "none known", ""),
        ("energy", f"{record['energy_uj']:.4g} uJ", "energy_uj"),
        ("  arithmetic", f"{record['arithmetic_uj']:.4g} uJ", ""),
        ("  memory", f"{record['memory_uj']:.4g} uJ, from {record['read_from']}", ""),
        ("power", f"{record['power_w']:.4g} W at {record['rate_hz']:g} answers a second", "power_w"),
    ]
    for who, found in record["latency"].items():
        time = f"{found['median_ms']:.4g} ms, spread {100 * found['spread']:.0f} %"
        rows.append((f"latency, {who}", f"{time}, {_frames(found['frames_per_s'])} frames a second", ""))
    return rows


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x"


def _remarks(record: dict[str, Any]) -> str:
    sizes = {name: record["caches"][f"{name}_bytes"] for name in CACHES}
    known = ", ".join(f"{name.upper()} {size:,}" for name, size in sizes.items() if size is not None)
    said = f"caches: {known} bytes" if known else "caches: unknown, so weights are counted as read from DRAM"
    said += "\nenergy is a model (45 nm: float multiply-add 4.6 pJ, 32 bits from SRAM 5 pJ, from DRAM 640 pJ)"
    if not record["macs_dense"]:
        said += "\nno layer multiplies: operations and their energy are 0"
    if record["refused"] is not None:
        said += f"\ntersenet's runtime does not run this file: {record['refused']}"
    return f"{said}\ntimes are of batches of {record['batch']} on one thread"


def _inputs(row: dict[str, Any]) -> str:
    """The share of inputs that are not zero, of a layer that has inputs."""
    return _percent(row["input_density"]) if row["macs_dense"] and row["input_density"] is not None else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _frames(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.3g}"
