"""tersenet compare: accuracy against bytes for every form, over its range."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from tersenet.search import Comparison

DEFAULT = Path("compare")


def compare(
    session: Session,
    source: options.Source,
    data: options.DataName,
    weights: options.Weights = None,
    forms: Annotated[
        str | None,
        typer.Option("--forms", help="of forms, prune, 'prune + codebook', low_rank, with commas; all by default"),
    ] = None,
    where: Annotated[str, typer.Option("--where", help="patterns of layers, as in recipes")] = "*",
    calibrate: Annotated[
        int, typer.Option("--calibrate", min=0, help="fit stored weights to so many training inputs, labels unread")
    ] = 0,
    train_epochs: Annotated[
        int, typer.Option("--train-epochs", min=0, help="train so long after each step of a point")
    ] = 0,
    lr: Annotated[float, typer.Option("--lr", help="learning rate of that training, by Adam")] = 0.0005,
    precision: Annotated[str, typer.Option("--precision", help="of that training: float32 or bfloat16")] = "float32",
    levels: Annotated[
        int | None, typer.Option("--levels", min=1, help="at most so many points a form, spread over its range")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="validate, test or train")] = "validate",
    examples: Annotated[
        int | None, typer.Option("--examples", min=2, help="score on so many inputs; all by default")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="seconds after which no other point is begun")
    ] = None,
    within: Annotated[
        float, typer.Option("--within", help="points below the original that the picture reaches down to")
    ] = 10.0,
    metric: options.Metric = None,
    coder: Annotated[str, typer.Option("--coder", help="raw, huffman, rans or range")] = "huffman",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="folder of points, files, picture and table")
    ] = DEFAULT,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Compress a network in every way and score each file; the same command goes on where it stopped."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.data import PARTS, load_data, load_metric
    from tersenet.cli.folders import check_folder
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.cli.training import train_config
    from tersenet.coding import get_coder
    from tersenet.graph import Network, capture
    from tersenet.search import compare as measure
    from tersenet.search.lines import check_lines, known_lines

    if split not in PARTS:
        raise UsageError(f"--split {split}: the parts of a data set are {', '.join(PARTS)}")
    if not within > 0:
        raise UsageError(f"--within {within}: a number of points above 0 is expected")
    names = known_lines() if forms is None else tuple(name.strip() for name in forms.split(","))
    check_lines(names)
    get_coder(coder)
    config = None
    if train_epochs:
        config = train_config({"epochs": train_epochs, "optimiser": "adam", "lr": lr, "precision": precision})
    options.set_threads(threads)
    device = options.find_device(device)
    found = resolve(source, weights, seed=session.seed, max_bytes=max_bytes)
    if not found.trained:
        raise UsageError(f"{source} has no trained weights; give --weights, or a .terse file")
    loaders = load_data(data, data_dir, download, found.preprocess)
    part = loaders.need(split)
    train = loaders.need("train") if calibrate or config is not None else None
    score = load_metric(metric)
    check_match(found.model, loaders)
    network = found.model if isinstance(found.model, Network) else capture(found.model, loaders.first_batch()[0])
    check_folder(output, make=True)
    session.resumable()
    with session.progress() as progress:
        count = progress.counter("compare")
        record = measure(
            network,
            part,
            output,
            train=train,
            lines=names,
            where=where,
            calibrate=calibrate,
            train_config=config,
            levels=levels,
            examples=examples,
            budget_s=budget,
            metric=score,
            coder=coder,
            seed=session.seed,
            device=device,
            source=f"{source} on {data}",
            on_point=count,
        )
    files = _write(record, output, within)
    session.result(record.to_dict() | {"files": files}, _text(record, files))


def _write(record: Comparison, folder: Path, within: float) -> list[str]:
    """Picture and table; none while there is no point."""
    from tersenet.container import atomic_write
    from tersenet.report.comparison import draw, table

    written = [str(folder / "compare.json")]
    if not record.points:
        return written
    headers, rows = table(record)
    lines = [
        "| " + " | ".join(headers) + " |",
        "|" + "---|" * len(headers),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    wanted = {"compare.md": "\n".join(lines) + "\n", "compare.svg": draw(record, within=within)}
    if record.original_top5 is not None:
        wanted["compare-top5.svg"] = draw(record, within=within, top5=True)
    for name, text in wanted.items():
        atomic_write(folder / name, text.encode())
        written.append(str(folder / name))
    return written


def _text(record: Comparison, files: list[str]) -> str:
    from tersenet.cli.text import percent, table
    from tersenet.report.comparison import table as rows_of

    score = {record.measure: -record.original if record.measure == "loss" else record.original}
    lines = [f"original  {percent(score)}, {record.original_bytes:,} bytes of float32 parameters"]
    headers, rows = rows_of(record)
    if rows:
        lines += [
            "",
            table(rows, headers, "ll" + "r" * (len(headers) - 2)),
            "",
            "* nothing else is smaller and as good",
        ]
    refused = {(point.line, point.refused): None for point in record.points if point.refused}
    lines += [f"{line}: not there: {why}" for line, why in refused]
    lines += ["", *(f"kept in   {path}" for path in files)]
    if record.missing:
        asked = record.missing + len(record.points)
        lines.append(f"the time was up: {len(record.points)} of {asked} points are there; the same command goes on")
    return "\n".join(lines)
