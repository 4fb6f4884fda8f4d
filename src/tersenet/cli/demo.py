"""tersenet demo: the whole way, on data that is already here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from tersenet.cli import options
from tersenet.cli.session import Session

NET, DATA, RECIPE = "lenet_300_100", "digits28", "demo"
# 1,294 digits of 8x8, grown: a few seconds are enough, and Adam finds the way in them.
TRAINING = {"epochs": 30, "batch_size": 64, "optimiser": "adam", "lr": 2e-3, "schedule": "cosine"}
WEIGHTS, COMPRESSED, REPORT = "original.safetensors", "digits.terse", "report.html"


def demo(
    session: Session,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for what the demo makes")] = Path(
        "tersenet-demo"
    ),
    threads: options.Threads = None,
) -> None:
    """Train a small network on digits, compress it, load it again, measure it, draw the report."""
    from tersenet.cli.folders import check_folder

    began = time.monotonic()
    run_dir = output / f"{COMPRESSED}.run"
    check_folder(run_dir, make=True)
    session.say(f"training {NET} on {DATA} (1,797 digits that come with scikit-learn)")

    from tersenet import compress, load, zoo
    from tersenet.cli.data import load_data
    from tersenet.cli.source import resolve
    from tersenet.cli.training import save_weights, score, train_config, train_model
    from tersenet.report import write
    from tersenet.zoo.file_preprocess import to_file

    options.set_threads(threads)
    source = resolve(NET, None, seed=session.seed)
    preprocess = zoo.entry(NET).preprocess
    loaders = load_data(DATA, None, False, preprocess)
    train_model(
        session,
        source.model,
        loaders,
        train_config(TRAINING),
        checkpoint=run_dir / "original.ckpt",
        device="cpu",
        label="train",
    )
    original_bytes = save_weights(source.model, output / WEIGHTS)
    session.say(f"compressing by the recipe '{RECIPE}': prune and retrain, share and retrain, code")
    with session.progress() as progress:
        result = compress(
            source.model,
            recipe=RECIPE,
            train=loaders.need("train"),
            validate=loaders.get("validate"),
            test=loaders.get("test"),
            seed=session.seed,
            run_dir=run_dir,
            preprocess=to_file(preprocess),
            source=NET,
            on_event=progress,
        )
    file, page = output / COMPRESSED, output / REPORT
    result.save(file)
    session.say("loading the file again, without the class that made it")
    before = score(session, source.model, loaders, "test")
    after = score(session, load(file), loaders, "test")
    assert before is not None and after is not None
    write(run_dir, page)
    record = {
        "bytes_before": result.record.original_bytes,
        "bytes_after": result.file_bytes,
        "ratio": result.ratio,
        "loads_without_class": True,
        "accuracy_before": before["accuracy"],
        "accuracy_after": after["accuracy"],
        "examples": after["examples"],
        "file": str(file),
        "report": str(page),
        "weights": str(output / WEIGHTS),
        "weights_bytes": original_bytes,
        "seconds": round(time.monotonic() - began, 1),
    }
    session.result(
        record,
        f"size                     {record['bytes_before']:,} -> {record['bytes_after']:,} bytes, {result.ratio:.1f}x smaller\n"
        f"loads without the class  yes: tersenet.load({str(file)!r})\n"
        f"accuracy                 {100 * before['accuracy']:.2f} % -> {100 * after['accuracy']:.2f} % on {after['examples']} digits not seen\n"
        f"file and report          {file}, {page} ({record['seconds']} s)",
    )
