"""tersenet measure: what one answer of a network costs, by layer and in total, alone or beside another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from torch import Tensor

    from tersenet.cli.data import Loaders
    from tersenet.cli.source import Source
    from tersenet.measure import Subject

# Inputs that the share of zeros is measured on. A pass keeps all its activations, hence the small batches.
EXAMPLES, EXAMPLES_AT_ONCE = 64, 8


def measure(
    session: Session,
    source: options.Source,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="trained weights for SOURCE; where that is a file, for --against"),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="what SOURCE was before: a SOURCE too; both beside each other")
    ] = None,
    data: options.MaybeData = None,
    rate: Annotated[float, typer.Option("--rate", help="answers a second, for the power in watts")] = 20.0,
    batch: Annotated[int, typer.Option("--batch", min=1, help="examples answered at once")] = 1,
    inputs: Annotated[
        str | None, typer.Option("--input", help="shape of an input, 1x28x28, where nothing else shows it")
    ] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Count and time a network: operations, memory against caches, energy, power, latency.

    With --data the share of each layer's inputs that are not zero is measured, and multiply-adds with a zero are left
    out of the effective ones.
    """
    from tersenet.cli.command import UsageError

    if not 0 < rate < float("inf"):
        raise UsageError(f"--rate {rate:g}: answers a second; expected more than 0")

    from tersenet.cli.costs import comparison_text, measurement_text
    from tersenet.cli.source import resolve
    from tersenet.measure import measurement

    def subject(text: str, filled: Path | None) -> Subject:
        found = resolve(text, filled, seed=session.seed, max_bytes=max_bytes)
        return _subject(found, data, inputs, batch, session.seed, data_dir, download, max_bytes)

    of_file = source.endswith(options.SUFFIX) and against is not None
    after = subject(source, None if of_file else weights)
    if against is None:
        record = measurement.measure(**vars(after), rate_hz=rate).to_dict()
        session.result({"source": source, **record}, measurement_text(record))
        return
    before = subject(against, weights if of_file else None)
    record = measurement.compare(before, after, rate_hz=rate).to_dict()
    session.result({"source": source, "against": against, **record}, comparison_text(record, against, source))


def _subject(
    found: Source,
    data: str | None,
    shapes: str | None,
    batch: int,
    seed: int,
    data_dir: Path | None,
    download: bool,
    max_bytes: int | None,
) -> Subject:
    """A resolved network with inputs, its file's bytes and real inputs where there are some."""
    from tersenet.cli.data import load_data
    from tersenet.cli.match import check_match
    from tersenet.container import read_file
    from tersenet.measure import Subject

    loaders = None if data is None else load_data(data, data_dir, download, found.preprocess)
    if loaders is not None:
        check_match(found.model, loaders)
    inputs = _inputs(found, loaders, shapes, batch)
    _check_answers(found, inputs)
    return Subject(
        model=found.model,
        inputs=inputs,
        file=read_file(Path(found.text)) if found.text.endswith(options.SUFFIX) else None,
        batches=None if loaders is None else _real_inputs(loaders, seed),
        max_bytes=max_bytes,
    )


def _inputs(found: Source, loaders: Loaders | None, shapes: str | None, batch: int) -> tuple[Tensor, ...]:
    """A batch of zeros in the shapes that the file, --input, the zoo or the data show."""
    import torch

    from tersenet.cli.command import UsageError
    from tersenet.graph import Network

    if isinstance(found.model, Network):
        wanted = found.model.graph.inputs
        return tuple(torch.zeros(batch, *one.shape, dtype=getattr(torch, one.dtype)) for one in wanted)
    example = found.example(shapes)
    if example is None and loaders is not None:
        example = (loaders.first_batch()[0],)
    if example is None:
        raise UsageError(f"{found.text}: how it is called is not known; give --input 3x32x32 or --data")
    return tuple(torch.zeros(batch, *one.shape[1:], dtype=one.dtype) for one in example)


def _check_answers(found: Source, inputs: tuple[Tensor, ...]) -> None:
    """That the network takes the inputs; the user's own code can raise anything."""
    import torch

    from tersenet.cli.source import guarded

    with torch.no_grad():
        guarded(found.text, found.model.eval(), *inputs)


def _real_inputs(loaders: Loaders, seed: int) -> Iterator[tuple[Any, ...]]:
    from tersenet.calibration.sample import sample_batches

    part = next(part for part in ("validate", "test", "train") if loaders.get(part) is not None)
    for x, _ in sample_batches(loaders.need(part), EXAMPLES, EXAMPLES_AT_ONCE, seed):
        yield (x,)
