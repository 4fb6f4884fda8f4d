"""tersenet evaluate: how good a network is on data."""

from __future__ import annotations

from typing import Annotated, cast, get_args

import typer

from tersenet.cli import options
from tersenet.cli.session import Session


def evaluate(
    session: Session,
    source: options.Source,
    data: options.DataName,
    weights: options.Weights = None,
    split: Annotated[str, typer.Option("--split", help="test, validate or train")] = "test",
    loss: Annotated[
        str | None, typer.Option("--loss", help="mse, mae, bce or cross_entropy; by default what the targets look like")
    ] = None,
    metric: options.Metric = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    max_bytes: options.MaxBytes = None,
) -> None:
    """Accuracy and loss of a network; a .terse file says itself how its inputs are prepared."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.data import PARTS, load_data, load_metric
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.cli.text import percent
    from tersenet.cli.training import score
    from tersenet.training.config import LossName

    if loss is not None and loss not in get_args(LossName):
        raise UsageError(f"--loss {loss}: the losses are {', '.join(get_args(LossName))}")
    if split not in PARTS:
        raise UsageError(f"--split {split}: the parts of a data set are {', '.join(PARTS)}")
    options.set_threads(threads)
    device = options.find_device(device)
    found = resolve(source, weights, seed=session.seed, max_bytes=max_bytes)
    if not found.trained:
        raise UsageError(f"{source} has no trained weights; give --weights, or a .terse file")
    loaders = load_data(data, data_dir, download, found.preprocess)
    loaders.need(split)
    function = load_metric(metric)
    check_match(found.model, loaders, loss)
    result = score(
        session,
        found.model,
        loaders,
        split,
        device=device,
        metric=function,
        loss=cast("LossName | None", loss),
    )
    assert result is not None
    # top5 where it says something, metric where there is one; the other keys always.
    record = {name: value for name, value in result.items() if value is not None or name not in ("top5", "metric")}
    lines = []
    if result["accuracy"] is not None:
        lines.append(f"accuracy  {percent(result)}")
    if result["top5"] is not None:
        lines.append(f"top 5     {percent(result, 'top5')}")
    if result["loss"] is not None:
        lines.append(f"loss      {result['loss']:.4f}")
    if result["metric"] is not None:
        lines.append(f"metric    {result['metric']:g}")
    lines.append(
        f"examples  {result['examples']:,} ({data}, {split})" if result["examples"] else f"data      {data}, {split}"
    )
    session.result({**record, "source": source, "data": data, "split": split}, "\n".join(lines))
