"""The preprocessing of a zoo entry as a file stores it, and back. Nothing here imports torch."""

from __future__ import annotations

from tersenet import ir
from tersenet.zoo.preprocess import Preprocess


def to_file(preprocess: Preprocess) -> ir.Preprocess:
    """What goes into the file's op list."""
    return ir.Preprocess(
        scale=preprocess.scale,
        mean=preprocess.mean,
        std=preprocess.std,
        channels=preprocess.channels.lower(),
        resize=preprocess.resize or 0,
        crop=preprocess.crop or 0,
    )


def from_file(preprocess: ir.Preprocess) -> Preprocess:
    """What a data loader applies."""
    return Preprocess(
        scale=preprocess.scale,
        mean=preprocess.mean,
        std=preprocess.std,
        channels=preprocess.channels.upper(),
        resize=preprocess.resize or None,
        crop=preprocess.crop or None,
    )
