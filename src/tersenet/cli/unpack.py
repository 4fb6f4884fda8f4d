"""tersenet unpack: a compressed network's weights as plain ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tersenet.cli import options
from tersenet.cli.session import Session


def unpack(
    session: Session,
    file: options.TersePath,
    output: Annotated[Path, typer.Option("--output", "-o", help="where the weights go, .safetensors")],
    max_bytes: options.MaxBytes = None,
) -> None:
    """Write the dense weights of a file under the names of the original network; needs no torch."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file

    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: weights are written as .safetensors; end the name so")
    check_file(output)

    from safetensors.numpy import save

    from tersenet.container import atomic_write, read_dense

    tensors = read_dense(file, max_bytes=max_bytes)
    data = save(tensors)
    atomic_write(output, data)
    session.result(
        {"weights": str(output), "bytes": len(data), "tensors": len(tensors), "file": str(file)},
        f"{output}: {len(tensors)} tensors, {len(data):,} bytes",
    )
