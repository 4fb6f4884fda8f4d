"""tersenet report: the account of a run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tersenet.cli.session import Session


def report(
    session: Session,
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the run folder of compress or train: FILE.run")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the page, .html")],
) -> None:
    """Write what happened in a run as one HTML file that opens offline."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file
    from tersenet.errors import TersenetError

    if output.suffix != ".html":
        raise UsageError(f"--output {output}: the page is HTML; end its name with .html")
    check_file(output)
    if not any((run_dir / name).is_file() for name in ("run.json", "train.json")):
        if (run_dir / "train.ckpt").is_file():
            raise TersenetError(f"{run_dir}: this training is not over; give the same train command again, it goes on")
        raise TersenetError(
            f"{run_dir} has no run.json and no train.json; give the run folder of a compress or train command (FILE.run)"
        )

    from tersenet.report import write

    write(run_dir, output)
    session.result({"report": str(output), "bytes": output.stat().st_size}, f"{output}")
