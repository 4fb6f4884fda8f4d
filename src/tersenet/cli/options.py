"""Options that several commands take, each written down once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SUFFIX = ".terse"
SOURCE_HELP = "a network of the zoo, package.module:factory, file.py:factory, or FILE.terse"
DATA_HELP = (
    "a data set of the zoo, folder:PATH of images, or file.py:loaders, a function that gives {train, validate, test}"
)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="trained weights: .safetensors, .th or .pt (no code in them)")
]
DataName = Annotated[str, typer.Option("--data", help=DATA_HELP)]
MaybeData = Annotated[str | None, typer.Option("--data", help=DATA_HELP)]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="folder of data sets; else TERSENET_DATA, ~/.cache/tersenet")
]
Download = Annotated[bool, typer.Option("--download", help="fetch a data set of the zoo that is not here")]
Metric = Annotated[
    str | None, typer.Option("--metric", help="file.py:fn, fn(model, loader) -> float, larger is better")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="torch's threads; the same number gives the same bits")
]
MaxBytes = Annotated[
    int | None, typer.Option("--max-bytes", min=1, help="decoded size up to which a trusted file is read")
]
Net = Annotated[
    str, typer.Argument(metavar="NET", help="a network of the zoo, package.module:factory or file.py:factory")
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=0, help="passes over the data; the network's own by default")
]
BatchSize = Annotated[int | None, typer.Option("--batch-size", min=1, help="examples a step")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="learning rate; with one_cycle the highest")]
Optimiser = Annotated[str | None, typer.Option("--optimiser", help="sgd, adam, adamw or rmsprop")]
Augment = Annotated[
    str | None, typer.Option("--augment", help="none, flip, crop, flip_crop, shift, affine or flip_affine")
]
Precision = Annotated[str | None, typer.Option("--precision", help="float32 or bfloat16")]
TersePath = Annotated[Path, typer.Argument(metavar="FILE.terse", help="a compressed network")]


def set_threads(threads: int | None) -> None:
    """As asked for, else as torch has it."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def find_device(device: str) -> str:
    """The device asked for, if it is there; what "auto" comes to."""
    from tersenet.training.devices import resolve_device

    return str(resolve_device(device))
