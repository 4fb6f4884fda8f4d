"""tersenet ensemble: networks that differ by their seed alone, and what they know together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

if TYPE_CHECKING:
    from torch import nn

    from tersenet.cli.data import Loaders
    from tersenet.training import TrainConfig


def ensemble(
    session: Session,
    action: Annotated[str, typer.Argument(metavar="train", help="what to do: train")],
    net: options.Net,
    data: options.DataName,
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder of the members")],
    members: Annotated[int, typer.Option("--members", min=1, help="how many")] = 5,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    optimiser: options.Optimiser = None,
    augment: options.Augment = None,
    precision: options.Precision = None,
    data_dir: options.DataDir = None,
    download: options.Download = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
) -> None:
    """Train the members of an ensemble, one after the other, and score them alone and together.

    Member k has the seed --seed + k - 1. The same command goes on after an interruption; with more --members it adds to
    those that are there. tersenet distill --teacher FOLDER takes what comes out.
    """
    from tersenet.cli.command import UsageError
    from tersenet.cli.folders import check_folder

    if action != "train":
        raise UsageError(f"'{action}' is nothing an ensemble does; write: tersenet ensemble train NET ...")
    if net.endswith(options.SUFFIX):
        raise UsageError(f"{net} is a compressed network; members are networks of the zoo or your own code")
    check_folder(output, make=True)

    from tersenet.cli.data import load_data
    from tersenet.cli.match import check_match
    from tersenet.cli.source import resolve
    from tersenet.cli.text import percent, table
    from tersenet.cli.training import save_weights, score, train_config
    from tersenet.methods.distill import Ensemble
    from tersenet.zoo import load_weights
    from tersenet.zoo.baselines import baseline

    options.set_threads(threads)
    device = options.find_device(device)
    asked = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "optimiser": optimiser, "augment": augment,
        "precision": precision,
    }  # fmt: skip
    settings = baseline(net) | {name: one for name, one in asked.items() if one is not None}
    if settings.get("warmup_epochs", 0) >= settings["epochs"]:
        settings["warmup_epochs"] = 0  # a short run has no time to warm up
    config = train_config(settings)
    first = resolve(net, None, seed=session.seed)
    loaders = load_data(data, data_dir, download, first.preprocess)
    loaders.need("train")
    check_match(first.model, loaders)
    record = _open(output, {"net": net, "data": data, "seed": session.seed, "train": config.model_dump(mode="json")})
    trained = []
    for number in range(members):
        name, seed = f"member-{number + 1}", session.seed + number
        model = resolve(net, None, seed=seed).model
        path = output / f"{name}.safetensors"
        if number < len(record["members"]):
            trained.append(load_weights(model, path))
            continue
        session.resumable()
        _train(session, model, loaders, config, seed, output / f"{name}.ckpt", device, name)
        save_weights(model, path)
        scores = {part: score(session, model, loaders, part, device=device) for part in ("validate", "test")}
        record["members"].append({"file": path.name, "seed": seed, **scores})
        _save(output, record)
        for leftover in output.glob(f"{name}.ckpt*"):
            leftover.unlink()
        trained.append(model)
    together = Ensemble(trained)
    record["ensemble"] = {
        "members": len(trained),
        **{part: score(session, together, loaders, part, device=device) for part in ("validate", "test")},
    }
    _save(output, record)
    rows = [
        [one["file"], str(one["seed"]), percent(one["validate"]), percent(one["test"])]
        for one in record["members"][:members]
    ]
    rows.append(["together", "", percent(record["ensemble"]["validate"]), percent(record["ensemble"]["test"])])
    shown = table(rows, ["member", "seed", "validate", "test"], "lrrr")
    session.result({**record, "folder": str(output)}, f"{output}: {len(trained)} members\n{shown}")


def _train(
    session: Session,
    model: nn.Module,
    loaders: Loaders,
    config: TrainConfig,
    seed: int,
    path: Path,
    device: str,
    name: str,
) -> None:
    """One member, by its own seed."""
    from tersenet.training import fit

    with session.progress() as progress:
        fit(
            model,
            loaders.need("train"),
            loaders.get("validate"),
            config,
            seed=seed,
            checkpoint=path,
            device=device,
            on_event=lambda event: progress({"kind": "train", "label": name, **event}),
        )
    model.to("cpu")


def _open(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The record of the ensemble as far as it is; one that was trained otherwise is refused."""
    import json

    from tersenet.cli.teachers import ENSEMBLE
    from tersenet.container import read_file
    from tersenet.errors import TersenetError

    path = folder / ENSEMBLE
    if not path.exists():
        return {**asked, "members": []}
    try:
        found: dict[str, Any] = json.loads(read_file(path))
        different = [name for name, value in asked.items() if found[name] != value]
        list(found["members"])
    except (ValueError, KeyError, TypeError) as error:
        raise TersenetError(f"{path}: not the record of an ensemble ({error}); choose another folder") from error
    if different:
        raise TersenetError(
            f"{path}: these members were trained otherwise ({', '.join(different)} differ); choose another --output"
        )
    return found


def _save(folder: Path, record: dict[str, Any]) -> None:
    import json

    from tersenet.cli.teachers import ENSEMBLE
    from tersenet.container import atomic_write

    atomic_write(folder / ENSEMBLE, json.dumps(record, indent=1).encode())
