"""tersenet train: a reference network from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tersenet.cli import options
from tersenet.cli.session import Session


def train(
    session: Session,
    net: Annotated[
        str, typer.Argument(metavar="NET", help="a network of the zoo, package.module:factory or file.py:factory")
    ],
    data: options.DataName,
    output: Annotated[Path, typer.Option("--output", "-o", help="where the weights go, .safetensors")],
    weights: options.Weights = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=0, help="passes over the data; the network's own by default")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="examples a step")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="learning rate")] = None,
    optimiser: Annotated[str | None, typer.Option("--optimiser", help="sgd, adam, adamw or rmsprop")] = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
) -> None:
    """Train a network and write its weights; the same command goes on after an interruption."""
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_file, check_folder, check_room
    from tersenet.cli.text import percent

    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: weights are written as .safetensors; end the name so")
    check_file(output)
    run_dir = output.with_name(output.name + ".run")

    from tersenet.cli.data import load_data
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.cli.training import save_weights, score, train_config, train_model
    from tersenet.zoo.baselines import baseline

    options.set_threads(threads)
    device = options.find_device(device)
    if net.endswith(options.SUFFIX):
        raise UsageError(f"{net} is a compressed network; train takes a network of the zoo or your own code")
    source = resolve(net, weights, seed=session.seed)
    loaders = load_data(data, data_dir, download, source.preprocess)
    loaders.need("train")
    check_match(source.model, loaders)
    asked = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "optimiser": optimiser}
    settings = baseline(net) | {name: value for name, value in asked.items() if value is not None}
    if epochs is not None and settings.get("warmup_epochs", 0) >= epochs:
        settings["warmup_epochs"] = 0  # a short run has no time to warm up
    config = train_config(settings)
    check_folder(run_dir, make=True)
    check_room(run_dir, 4 * sum(parameter.numel() for parameter in source.model.parameters()))
    history = train_model(
        session,
        source.model,
        loaders,
        config,
        checkpoint=run_dir / "train.ckpt",
        device=device,
        label=f"train {net}",
    )
    size = save_weights(source.model, output)
    scores = {part: score(session, source.model, loaders, part, device=device) for part in ("validate", "test")}
    session.result(
        {
            "weights": str(output),
            "bytes": size,
            "epochs": len(history),
            "seed": session.seed,
            "run_dir": str(run_dir),
            **scores,
        },
        f"{output}: {size:,} bytes, {len(history)} epochs\n"
        f"accuracy: validate {percent(scores['validate'])}, test {percent(scores['test'])}",
    )
