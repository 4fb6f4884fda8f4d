"""A few batches of a data set, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from tersenet.training.augment import augment as moved
from tersenet.training.batches import Batches
from tersenet.training.state import global_generators_kept


def sample_batches(
    data: Any,
    examples: int,
    batch_size: int,
    seed: int,
    *,
    augment: str = "none",
    augment_pixels: int | None = None,
) -> Iterator[Any]:
    """Batches (x, y): `examples` inputs drawn without replacement from a split, or a loader's first ones, at least as
    many; a loader that shuffles or augments is seeded as for training.

    A batch of one input is left out: BatchNorm has no variance of it. `augment` and `augment_pixels` move the pictures
    of a split as those of a TrainConfig do; a loader has its own moves.
    """
    if hasattr(data, "batch"):
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(data), generator=generator)[:examples]
        border = getattr(data, "black", None)
        for indices in torch.split(order, batch_size):
            if len(indices) > 1:
                batch = data.batch(indices)
                if augment != "none":
                    batch = (moved(batch[0], augment, augment_pixels, generator, border=border), *batch[1:])
                yield batch
        return
    seen = 0
    with global_generators_kept():
        batches = Batches(data, batch_size=batch_size, seed=seed, augment=augment, drop_single=True)
        for _, x, y in batches.epoch(0):
            yield x, y
            seen += len(x)
            if seen >= examples:
                return
