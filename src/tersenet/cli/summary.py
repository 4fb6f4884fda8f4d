"""What a compression came to: four numbers, then a line for each layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tersenet.cli.text import NOT_MEASURED, percent, table

if TYPE_CHECKING:
    from tersenet.recipes import RunRecord


def compression_record(record: RunRecord, output: Path, run_dir: Path) -> dict[str, Any]:
    """The result of compress --json."""
    final = record.final
    before, after = final["cost"]["before"], final["cost"]["after"]
    ours = after["latency"].get("tersenet")
    return {
        "file": str(output),
        "bytes": final["file_bytes"],
        "original_bytes": record.original_bytes,
        "ratio": final["ratio"],
        "parameters": record.parameters,
        "source": record.source,
        "recipe": record.recipe["name"],
        "seed": record.seed,
        "run_dir": str(run_dir),
        "original": final["original"] | {"macs": before["macs_dense"], "parameters": before["parameters"]},
        "result": {"validate": final["validate"], "test": final["test"], "parameters": after["parameters"]},
        "drop_points": final["drop_points"],
        "operations": after["layers"],
        "latency_ms": {
            "original": before["latency"]["torch"]["median_ms"],
            "result": after["latency"]["torch"]["median_ms"],
            "result_in_tersenet": None if ours is None else ours["median_ms"],
        },
        "layers": final["table"]["rows"],
        "total": final["table"]["total"],
        "notes": [note for stage in record.stages for note in stage["notes"]],
    }


def compression_text(record: dict[str, Any]) -> str:
    """The same to read."""
    original, result = record["original"], record["result"]
    part = "test" if result["test"] is not None else "validate"
    before, after = original[part], result[part]
    accuracy = f"{percent(before)} -> {percent(after)} ({part})" if after is not None else NOT_MEASURED
    lines = [
        f"size        {record['original_bytes']:,} -> {record['bytes']:,} bytes, {record['ratio']:.1f}x smaller",
        f"accuracy    {accuracy}",
        f"operations  {_operations(record)}",
        f"latency     {_latency(record['latency_ms'])}",
    ]
    text = "\n".join(lines) + "\n\n" + _layers([*record["layers"], record["total"]])
    if result["parameters"] < original["parameters"]:
        text += (
            f"\n\nrates by tensor count the {result['parameters']:,} parameters that the network has now; "
            f"the original had {original['parameters']:,}"
        )
    if record["notes"]:
        text += "\n\n" + "\n".join(record["notes"])
    return f"{text}\n\n{record['file']} is written; tersenet report {record['run_dir']} -o report.html draws how"


def _operations(record: dict[str, Any]) -> str:
    """Multiply-adds of one example: all of the original's, then those with a weight that is not zero."""
    effective = sum(row["macs_effective"] for row in record["operations"])
    return f"{record['original']['macs']:,} -> {round(effective):,} multiply-adds an example that meet a weight"


def _latency(median_ms: dict[str, float | None]) -> str:
    said = f"{median_ms['original']:.3g} -> {median_ms['result']:.3g} ms an example, in PyTorch on one thread"
    ours = median_ms["result_in_tersenet"]
    return said if ours is None else f"{said}; {ours:.3g} ms in tersenet's runtime"


def _layers(rows: list[dict[str, Any]]) -> str:
    """The paper's columns (Han et al. 2016, tables 2 to 5): bits a weight and a position, then rates by stage."""
    headers = ["tensor", "form", "weights", "kept", "bits", "coded", "index", "coded", "P", "P+Q", "P+Q+H", "bytes"]
    return table([_layer(row) for row in rows], headers, "ll" + "r" * 10)


def _layer(row: dict[str, Any]) -> list[str]:
    original = 32 * row["weights"]
    indexed = row["index_symbols"] > 0
    return [
        row["name"],
        row["form"],
        f"{row['weights']:,}",
        f"{100 * row['nonzeros'] / max(row['weights'], 1):.1f} %",
        *(f"{row[name]:.2f}" for name in ("weight_bits", "weight_bits_coded")),
        *(f"{row[name]:.2f}" if indexed else "-" for name in ("index_bits", "index_bits_coded")),
        *(f"{original / max(row[name], 1):.1f}x" for name in ("pruned_bits", "shared_bits", "coded_bits")),
        f"{row['coded_bits'] // 8:,}",
    ]
