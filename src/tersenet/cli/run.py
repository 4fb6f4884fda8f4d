"""tersenet run: a file on arrays, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

Activations = Annotated[
    Literal["float32", "int8"], typer.Option("--activations", help="int8: layers multiply eight-bit integers")
]
RuntimeThreads = Annotated[int, typer.Option("--threads", min=0, help="how many may work on it; 0: all cores")]


def run(
    session: Session,
    file: options.TersePath,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT.npy...", help="an array for each input, batch first")],
    output: Annotated[Path, typer.Option("--output", "-o", help="where the output goes, .npy; several: .npz")],
    threads: RuntimeThreads = 0,
    activations: Activations = "float32",
    max_bytes: options.MaxBytes = None,
) -> None:
    """Run a compressed network on numpy arrays from its compressed form; needs no torch."""
    import io
    import time

    import numpy as np

    import tersenet.runtime as runtime
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file
    from tersenet.container import atomic_write

    if output.suffix not in (".npy", ".npz"):
        raise UsageError(f"--output {output}: outputs are written as .npy or .npz; end the name so")
    check_file(output)
    arrays = [_read(path) for path in inputs]
    network = runtime.open(
        file,
        threads=threads,
        max_bytes=max_bytes,
        batch=_batch(arrays),
        activations=activations,
        shapes=[array.shape[1:] for array in arrays],
    )
    start = time.perf_counter()
    found = network(*arrays)
    took_ms = (time.perf_counter() - start) * 1e3
    outputs = found if isinstance(found, tuple) else (found,)
    names = [one.name for one in network.outputs]
    written = io.BytesIO()
    if output.suffix == ".npz":
        np.savez(written, allow_pickle=False, **dict(zip(names, outputs)))
    elif len(outputs) == 1:
        np.save(written, outputs[0], allow_pickle=False)
    else:
        raise UsageError(f"the network has {len(outputs)} outputs; write them to a .npz")
    atomic_write(output, written.getvalue())
    shapes = {name: list(one.shape) for name, one in zip(names, outputs)}
    record: dict[str, Any] = {"output": str(output), "shapes": shapes, "ms": took_ms, "threads": network.threads}
    shown = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    session.result(record, f"{output}: {shown} in {took_ms:.3f} ms")


def _read(path: Path) -> Any:
    import numpy as np

    from tersenet.errors import TersenetError

    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TersenetError(f"{path}: not one array as numpy.save writes it ({error})") from None


def _batch(arrays: list[Any]) -> int:
    return max(int(arrays[0].shape[0]), 1) if arrays and arrays[0].ndim else 1
