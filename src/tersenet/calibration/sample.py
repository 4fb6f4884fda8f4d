"""A few batches of a data set, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


def sample_batches(data: Any, examples: int, batch_size: int, seed: int) -> Iterator[Any]:
    """Batches of at most `examples` inputs: drawn without replacement from a split, the first ones of a loader.

    A last batch of one input is left out: BatchNorm has no variance of it.
    """
    if hasattr(data, "batch"):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:examples]
        for indices in torch.split(order, batch_size):
            if len(indices) > 1:
                yield data.batch(indices)
        return
    seen = 0
    for batch in data:
        yield batch
        seen += len(batch[0])
        if seen >= examples:
            return
