"""tersenet bench: how fast a file runs here, beside others on the dense network."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.run import Activations
from tersenet.cli.session import Session


def bench(
    session: Session,
    file: options.TersePath,
    batch: Annotated[str, typer.Option("--batch", help="batch sizes, with commas")] = "1",
    threads: Annotated[str, typer.Option("--threads", help="numbers of threads, with commas")] = "1",
    against: Annotated[str, typer.Option("--against", help="torch, onnxruntime, onnxruntime-int8, with commas")] = "",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="how often each is timed")] = 30,
    layers: Annotated[bool, typer.Option("--layers", help="each operation with its kernel, bytes and time")] = False,
    activations: Activations = "float32",
    max_bytes: options.MaxBytes = None,
) -> None:
    """Time a compressed network: medians of calls that take turns, on random input."""
    import os

    import numpy as np

    import tersenet.runtime as runtime
    from tersenet.cli.text import table
    from tersenet.measure.latency import compare_latency

    peers = [name for name in against.split(",") if name]
    rows: list[dict[str, Any]] = []
    plans: list[dict[str, Any]] = []
    for count in _numbers(threads, "--threads"):
        for size in _numbers(batch, "--batch"):
            network = runtime.open(file, threads=count, batch=size, max_bytes=max_bytes, activations=activations)
            rng = np.random.default_rng(session.seed)
            arrays = [_sample(rng, one.dtype, (size, *one.shape[1:])) for one in network.inputs]
            calls: dict[str, Any] = {"tersenet": lambda network=network, arrays=arrays: network(*arrays)}
            if peers:
                from tersenet.measure.peers import peer_calls

                calls.update(peer_calls(file, arrays, peers, count))
            found = compare_latency(calls, repeats=repeats, limit_s=60.0)
            ours = found["tersenet"].median_ms
            for name, one in found.items():
                times = {"median_ms": one.median_ms, "min_ms": one.min_ms, "spread": one.spread}
                rows.append({"batch": size, "threads": count, "who": name, **times, "ratio": one.median_ms / ours})
            if layers:
                plans.extend(_plan(network, size, count))
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    record = {"file": str(file), "load_average": load, "rows": rows, "layers": plans}
    shown = [
        [
            str(r["batch"]),
            str(r["threads"]),
            r["who"],
            f"{r['median_ms']:.3f}",
            f"{r['min_ms']:.3f}",
            f"{r['ratio']:.2f}",
        ]
        for r in rows
    ]
    text = table(shown, ["batch", "threads", "who", "median ms", "least ms", "times ours"], "rrlrrr")
    if plans:
        text += "\n\n" + table(
            [[p["operation"], p["weight"], p["kernel"], f"{p['bytes']:,}", f"{p['us']:.1f}"] for p in plans],
            ["operation", "weight", "kernel", "bytes", "us"],
            "lllrr",
        )
    if load is not None:
        text += f"\n\nload average {load[0]:.2f}"
    session.result(record, text)


def _plan(network: Any, batch: int, threads: int) -> list[dict[str, Any]]:
    return [
        {
            "batch": batch,
            "threads": threads,
            "operation": row.operation,
            "weight": row.weight,
            "kernel": row.kernel,
            "bytes": row.size_bytes,
            "us": row.measured_us,
        }
        for row in network.plan(batch)
    ]


def _numbers(text: str, option: str) -> list[int]:
    from tersenet.cli.command import UsageError

    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) > 0 for word in words):
        raise UsageError(f"{option} {text}: expected numbers of at least 1, with commas between")
    return [int(word) for word in words]


def _sample(rng: Any, dtype: str, shape: tuple[int | None, ...]) -> Any:
    if dtype == "float32":
        return rng.standard_normal(shape, dtype="float32")
    return rng.integers(0, 2, shape).astype(dtype)
