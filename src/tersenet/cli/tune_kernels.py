"""tersenet tune-kernels: which kernels are fastest for a file on this machine, kept for when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tersenet.cli import options
from tersenet.cli.run import Activations, RuntimeThreads
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from tersenet.runtime import PlanRow


def tune_kernels(
    session: Session,
    file: options.TersePath,
    threads: RuntimeThreads = 0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="the batch it will be run with")] = 1,
    activations: Activations = "float32",
    max_bytes: options.MaxBytes = None,
) -> None:
    """Time every kernel that fits each layer and keep the fastest; TERSENET_CACHE names the folder."""
    import tersenet.runtime as runtime
    from tersenet.cli.text import table
    from tersenet.runtime import cache

    network = runtime.open(
        file, threads=threads, batch=batch, max_bytes=max_bytes, measure=True, activations=activations
    )
    rows = [row for row in network.plan(batch) if row.weight]
    folder = cache.folder()
    record = {
        "file": str(file),
        "cache": None if folder is None else str(folder),
        "layers": [
            {
                "operation": row.operation,
                "weight": row.weight,
                "kernel": row.kernel,
                "bytes": row.size_bytes,
                "tried": {one.kernel: one.time_us for one in row.tried},
            }
            for row in rows
        ],
    }
    shown = [[row.weight, row.kernel, f"{row.expected_us:.1f}", _others(row)] for row in rows]
    where = "kept nowhere: TERSENET_CACHE is empty" if folder is None else f"kept in {folder}"
    session.result(record, table(shown, ["weight", "fastest", "us", "others, us"], "llrl") + f"\n\n{where}")


COMPRESSED = ("wsell", "csr", "spmm")


def _others(row: PlanRow) -> str:
    others = sorted((one.time_us, one.kernel) for one in row.tried if one.kernel != row.kernel)
    shown = ", ".join(f"{kernel} {time:.1f}" for time, kernel in others)
    lost = not row.kernel.startswith(COMPRESSED) and any(kernel.startswith(COMPRESSED) for _, kernel in others)
    return shown + (" - the sparse form is not faster here" if lost else "")
