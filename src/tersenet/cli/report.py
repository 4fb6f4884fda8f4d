"""tersenet report: the account of a run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tersenet.cli.session import Session


def report(
    session: Session,
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the run folder of compress: FILE.terse.run")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the page, .html")],
) -> None:
    """Write what happened in a run as one HTML file that opens offline."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file
    from tersenet.errors import TersenetError

    if output.suffix != ".html":
        raise UsageError(f"--output {output}: the page is HTML; end its name with .html")
    check_file(output)
    if not (run_dir / "run.json").is_file():
        raise TersenetError(f"{run_dir} has no run.json; give the run folder of a compress command (FILE.terse.run)")

    from tersenet.report import write

    write(run_dir, output)
    session.result({"report": str(output), "bytes": output.stat().st_size}, f"{output}")
