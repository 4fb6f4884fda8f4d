"""What an error in each weight costs its layer: the diagonal of X X^T, X being what the weight meets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.calibration.collect import collect
from tersenet.graph import Network, WeightedLayer


def input_importance(network: Network, batches: Iterable[Any], layer: WeightedLayer) -> Float[Tensor, "..."]:
    """The mean square of the input that each weight of a layer meets, in the weight's shape, float32.

    The squared error of the layer's output is the sum of squared weight errors times this, products of different inputs
    left aside (as Stock et al. 2020, arXiv:1907.05686, eq. 4, with the diagonal of X X^T). `batches` as in `collect`.
    """
    found = collect(network, batches, [layer.name], second_moments=False)[layer.name]
    mean_square = (found.input_square / max(found.count, 1)).to(torch.float32)
    shape = network.dense(layer.weight).shape
    if layer.op == "conv_transpose2d":  # its rows are the inputs
        return mean_square.reshape(-1, *[1] * (len(shape) - 1)).expand(shape).contiguous()
    groups, features = mean_square.shape
    by_row = mean_square[:, None].expand(groups, shape[0] // groups, features)
    return by_row.reshape(shape).contiguous()
