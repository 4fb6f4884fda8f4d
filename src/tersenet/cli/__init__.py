"""The command line: one file a command. Nothing here imports torch before a command runs."""

from __future__ import annotations

import sys

from tersenet.cli.interrupts import leave, on_interrupt


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `tersenet` script; the words after its name are taken from the shell where none are given."""
    with on_interrupt(leave):
        _main(sys.argv[1:] if arguments is None else arguments)


def _main(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        from tersenet import __version__

        print(f"tersenet {__version__}")
        return
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"tersenet: error: the command line needs the package '{error.name}'; install it with: pip install 'tersenet[torch]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from error
    from tersenet.cli.app import run

    run(arguments)
