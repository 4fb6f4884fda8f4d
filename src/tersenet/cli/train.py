"""tersenet train: a network from scratch, or on from weights that are there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

_option = typer.Option


def train(
    session: Session,
    net: options.Net,
    data: options.DataName,
    output: Annotated[Path, _option("--output", "-o", help="where the weights go, .safetensors")],
    weights: options.Weights = None,
    config: Annotated[
        Path | None, _option("--config", help="settings as YAML, in place of the network's own; options go over them")
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    loss: Annotated[str | None, _option("--loss", help="cross_entropy, mse, mae or bce")] = None,
    label_smoothing: Annotated[
        float | None, _option("--label-smoothing", help="probability spread evenly over all classes")
    ] = None,
    optimiser: options.Optimiser = None,
    lr: options.LearningRate = None,
    momentum: Annotated[float | None, _option("--momentum", help="of sgd and rmsprop")] = None,
    nesterov: Annotated[bool | None, _option("--nesterov/--no-nesterov", help="Nesterov's momentum; sgd only")] = None,
    weight_decay: Annotated[float | None, _option("--weight-decay", help="the optimiser's own")] = None,
    clip_grad_norm: Annotated[
        float | None, _option("--clip-grad-norm", help="largest L2 norm of all gradients together")
    ] = None,
    schedule: Annotated[
        str | None, _option("--schedule", help="constant, cosine, linear, step, plateau or one_cycle")
    ] = None,
    warmup_epochs: Annotated[
        float | None, _option("--warmup-epochs", help="epochs of linear rise to the learning rate")
    ] = None,
    augment: options.Augment = None,
    average: Annotated[str | None, _option("--average", help="averaged weights: none, ema or swa")] = None,
    keep_best: Annotated[
        bool | None, _option("--keep-best/--keep-last", help="end with the best epoch on the validation part")
    ] = None,
    patience: Annotated[
        int | None, _option("--patience", min=1, help="stop after so many epochs without gain; keeps the best")
    ] = None,
    precision: options.Precision = None,
    report: Annotated[
        Path | None, _option("--report", help="FILE.html: curves, confusion matrix and worst examples")
    ] = None,
    figures: Annotated[Path | None, _option("--figures", help="folder for confusion.svg and worst.png")] = None,
    tensorboard: Annotated[Path | None, _option("--tensorboard", help="folder for TensorBoard's events")] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
) -> None:
    """Train a network and write its weights; the same command goes on after an interruption."""
    asked = {
        "epochs": epochs, "batch_size": batch_size, "loss": loss, "label_smoothing": label_smoothing,
        "optimiser": optimiser, "lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay,
        "clip_grad_norm": clip_grad_norm, "schedule": schedule, "warmup_epochs": warmup_epochs, "augment": augment,
        "average": average, "keep_best": keep_best, "patience": patience, "precision": precision,
    }  # fmt: skip
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file, check_folder, check_room

    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: weights are written as .safetensors; end the name so")
    if report is not None and report.suffix != ".html":
        raise UsageError(f"--report {report}: the page is HTML; end its name with .html")
    if net.endswith(options.SUFFIX):
        raise UsageError(f"{net} is a compressed network; train takes a network of the zoo or your own code")
    for file in (output, report):
        if file is not None:
            check_file(file)

    from tersenet.cli.data import load_data
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.cli.trained import finish
    from tersenet.cli.training import train_config, train_model, train_settings

    settings = train_config(train_settings(net, config, asked))
    writer = _tensorboard(tensorboard)
    options.set_threads(threads)
    device = options.find_device(device)
    source = resolve(net, weights, seed=session.seed)
    loaders = load_data(data, data_dir, download, source.preprocess)
    loaders.need("train")
    check_match(source.model, loaders, settings.loss)
    run_dir = output.with_name(output.name + ".run")
    for folder in (run_dir, figures):
        if folder is not None:
            check_folder(folder, make=True)
    check_room(run_dir, 4 * sum(parameter.numel() for parameter in source.model.parameters()))
    # Started by accelerate or torchrun, all processes train, and the first one speaks and writes.
    first = int(os.environ.get("RANK", "0") or 0) == 0
    session.quiet = session.quiet or not first
    history = train_model(
        session,
        source.model,
        loaders,
        settings,
        checkpoint=run_dir / "train.ckpt",
        device=device,
        label=f"train {net}",
        also=writer or (lambda event: None),
    )
    if first:
        if writer is not None:
            writer.close(history)
        finish(session, source, loaders, settings, history, output, run_dir, report, figures, device)


def _tensorboard(folder: Path | None) -> Any:
    """What writes events there; refused before hours of work where that cannot be."""
    if folder is None:
        return None
    from tersenet.cli.folders import check_folder
    from tersenet.training.tensorboard import TensorBoard

    writer = TensorBoard(folder)
    check_folder(folder, make=True)
    return writer
