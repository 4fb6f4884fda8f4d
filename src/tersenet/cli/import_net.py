"""tersenet import: the published Deep Compression format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tersenet.cli.options import SUFFIX
from tersenet.cli.session import Session


def import_net(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE.net", help="a published Deep Compression model")],
    net: Annotated[str, typer.Option("--net", help="the network of the zoo that it is: squeezenet1_0, alexnet")],
    output: Annotated[Path, typer.Option("--output", "-o", help="where the compressed network goes, .terse")],
    coder: Annotated[str, typer.Option("--coder", help="raw, huffman, rans or range")] = "huffman",
    no_provenance: Annotated[bool, typer.Option("--no-provenance", help="leave out where it came from")] = False,
) -> None:
    """Turn a published .net file into a .terse file, every weight exactly the same."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file

    if output.suffix != SUFFIX:
        raise UsageError(f"--output {output}: a compressed network is known by its name; end it with {SUFFIX}")
    check_file(output)

    import hashlib

    from tersenet import __version__, artifact
    from tersenet.container import read_file
    from tersenet.importers import import_net as read_net

    before = read_file(file)
    network = read_net(file, net)
    origin = {"imported": file.name, "net": net, "sha256": hashlib.sha256(before).hexdigest(), "tersenet": __version__}
    artifact.save(network, output, coder=coder, provenance=None if no_provenance else origin)
    size = output.stat().st_size
    session.result(
        {"file": str(output), "bytes": size, "source_bytes": len(before), "net": net, "coder": coder},
        f"{output}: {size:,} bytes, from {len(before):,} ({100 * size / len(before):.1f} %)",
    )
