"""Batches as users have them, checked: a tensor, or a tuple that starts with the network's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.graph import Network


def checked_inputs(network: Network, batches: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
    """The inputs of each batch, on the network's device; labels behind them are left out."""
    wanted = len(network.graph.inputs)
    device = next(iter(network.state_dict().values()), torch.zeros(0)).device
    empty = True
    for number, batch in enumerate(batches):
        inputs = (batch,) if isinstance(batch, Tensor) else tuple(batch) if isinstance(batch, (tuple, list)) else ()
        if len(inputs) < wanted or not all(isinstance(one, Tensor) for one in inputs[:wanted]):
            raise TersenetError(
                f"batch {number} is a {type(batch).__name__} of {len(inputs)}; expected a tensor, or a "
                f"tuple that starts with the network's {wanted} inputs"
            )
        inputs = inputs[:wanted]
        for given, one in zip(inputs, network.graph.inputs):
            if given.is_floating_point() and not torch.isfinite(given).all():
                raise TersenetError(
                    f"batch {number}: input '{one.name}' holds NaN or infinite values; clean the data first"
                )
        if inputs[0].shape[:1] == (0,):
            continue
        empty = False
        yield tuple(one.to(device) for one in inputs)
    if empty:
        raise TersenetError("the data is empty; at least one batch with one example is needed")
