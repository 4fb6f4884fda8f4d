"""A few batches of a data set, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from tersenet.training.batches import Batches
from tersenet.training.state import global_generators_kept


def sample_batches(data: Any, examples: int, batch_size: int, seed: int) -> Iterator[Any]:
    """Batches (x, y): `examples` inputs drawn without replacement from a split, or a loader's first ones, at least as
    many; a loader that shuffles or augments is seeded as for training.

    A batch of one input is left out: BatchNorm has no variance of it.
    """
    if hasattr(data, "batch"):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:examples]
        for indices in torch.split(order, batch_size):
            if len(indices) > 1:
                yield data.batch(indices)
        return
    seen = 0
    with global_generators_kept():
        for _, x, y in Batches(data, batch_size=batch_size, seed=seed, drop_single=True).epoch(0):
            yield x, y
            seen += len(x)
            if seen >= examples:
                return
