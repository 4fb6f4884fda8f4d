"""The table of commands, and typer's applications made from it.

READ FIRST
  1. Plain help: rich's own takes as long to import as everything else here together.
  2. A command is an application of its own where its name comes first. As part of the group, typer would import
     pydantic to read the group's options before it: 100 ms more, also for `compress --help`.
"""

from __future__ import annotations

from importlib import import_module

import typer

from tersenet.cli.command import command

# name -> module:function, and its line in the list.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "the whole way on digits that are here already, under two minutes"),
    "train": ("train:train", "a reference network from scratch, to weights"),
    "distill": ("distill:distill", "a network learns from another one"),
    "ensemble": ("ensemble:ensemble", "several networks trained alike, to teach together"),
    "compress": ("compress:compress", "a trained network to one small file"),
    "evaluate": ("evaluate:evaluate", "accuracy and loss of a network or a file"),
    "sensitivity": ("sensitivity:sensitivity", "how much each layer alone can lose"),
    "compare": ("compare:compare", "accuracy against bytes for every form"),
    "run": ("run:run", "a file on numpy arrays, without torch"),
    "bench": ("bench:bench", "how fast a file runs here, beside torch and onnxruntime"),
    "measure": ("measure:measure", "operations, memory, energy and time of a network, by layer"),
    "tune-kernels": ("tune_kernels:tune_kernels", "the fastest kernels for a file on this machine, kept"),
    "inspect": ("inspect:inspect", "what each byte of a file is for"),
    "unpack": ("unpack:unpack", "a file's weights as safetensors"),
    "import": ("import_net:import_net", "the published Deep Compression format to a file"),
    "report": ("report:report", "a run as one HTML page"),
    "recipes": ("recipes:recipes", "what is shipped"),
}


def make_app(names: list[str]) -> typer.Typer:
    """An application of these commands."""
    app = typer.Typer(
        name="tersenet",
        help="Makes a trained PyTorch network terse: one small file, loadable without the class that made it.",
        epilog="tersenet --version prints the version. Every command has --json, --seed, --quiet, --debug and --help.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for name in names:
        place, line = COMMANDS[name]
        module, _, function = place.partition(":")
        app.command(name, short_help=line)(command(getattr(import_module(f"tersenet.cli.{module}"), function)))
    return app


def run(arguments: list[str]) -> None:
    """Do what the words after `tersenet` say; ends in SystemExit."""
    if arguments and arguments[0] in COMMANDS:
        make_app(arguments[:1])(arguments[1:], prog_name=f"tersenet {arguments[0]}")
    else:
        make_app(list(COMMANDS))(arguments, prog_name="tersenet")
