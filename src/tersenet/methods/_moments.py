"""What a layer meets in the network as it has become, against what it should answer: the sums that rounding needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms.dct import frequencies
from tersenet.ir import Node

# Rows of one example are patches at places this many; neighbours say nearly the same.
PLACES = 64


@dataclass(frozen=True)
class Moments:
    """Of rows x that a layer meets and the answers y wanted of it, by group.

    count     rows
    inputs    mean of x
    answers   mean of y
    gram      mean of x x^T, around the means where `centred`
    cross     mean of x y^T, likewise
    """

    count: int
    inputs: Float64[np.ndarray, "groups features"]
    answers: Float64[np.ndarray, "groups out"]
    gram: Float64[np.ndarray, "groups features features"]
    cross: Float64[np.ndarray, "groups features out"]

    def by_frequency(self, kernel: tuple[int, ...]) -> Moments:
        """The same of rows whose patches of so many places are in their frequencies: an orthonormal change of axes."""
        half = by_frequency(self.gram, kernel).swapaxes(1, 2)
        cross = by_frequency(self.cross.swapaxes(1, 2), kernel).swapaxes(1, 2)
        return replace(self, inputs=by_frequency(self.inputs, kernel), gram=by_frequency(half, kernel), cross=cross)


def by_frequency(rows: np.ndarray, kernel: tuple[int, ...]) -> np.ndarray:
    """Rows (..., channels * places) with each kernel, or patch, in its frequencies."""
    shaped = torch.from_numpy(np.array(rows)).reshape(*rows.shape[:-1], -1, *kernel)
    found: np.ndarray = frequencies(shaped, len(kernel)).reshape(rows.shape).numpy()
    return found


def matrix_of(weight: Tensor, groups: int) -> Float64[np.ndarray, "groups out features"]:
    """A weight of linear, conv1d or conv2d as one matrix a group."""
    return weight.detach().flatten(1).reshape(groups, weight.shape[0] // groups, -1).double().numpy()


def least_squares(
    rows: Float64[np.ndarray, "out features"],
    hessian: Float64[np.ndarray, "features features"],
    gram: Float64[np.ndarray, "features features"],
    cross: Float64[np.ndarray, "features out"],
) -> Float64[np.ndarray, "out features"]:
    """What would answer best in place of `rows`, given the inputs as they have become; `hessian` is `gram`, damped."""
    return rows + np.linalg.solve(hessian, cross - gram @ rows.T).T


def without_data(
    matrix: Float64[np.ndarray, "groups out features"], bias: Float64[np.ndarray, "groups out"]
) -> Moments:
    """As if inputs were independent, of mean 0 and variance 1."""
    groups, _, features = matrix.shape
    gram = np.broadcast_to(np.eye(features), (groups, features, features))
    cross = matrix.transpose(0, 2, 1)
    return Moments(0, np.zeros((groups, features)), bias, gram, cross)


def moments(
    node: Node,
    kernel: tuple[int, ...],
    given: Iterable[Tensor],
    wanted: Iterable[Tensor],
    *,
    centred: bool,
    name: str,
) -> Moments:
    """Sums over batches of what comes in and of the outputs wanted. NaN is refused.

    Of a convolution's places a grid of about PLACES an example is looked at, shifted from batch to batch.
    """
    count, sums = 0, []
    for number, (one, answer) in enumerate(zip(given, wanted, strict=True)):
        x, y = _rows(node, kernel, one, answer, number)
        count += x.shape[1]
        parts = (x.sum(1, dtype=torch.float64), y.sum(1, dtype=torch.float64), x.mT @ x, x.mT @ y)
        sums.append([part.double().numpy() for part in parts])
    x_mean, y_mean, gram, cross = (np.sum(parts, axis=0) / max(count, 1) for parts in zip(*sums))
    if not (np.isfinite(gram).all() and np.isfinite(cross).all()):
        raise TersenetError(f"layer '{name}' meets or gives NaN or infinite values; look at its weight and data")
    if centred:
        gram = gram - x_mean[:, :, None] * x_mean[:, None, :]
        cross = cross - x_mean[:, :, None] * y_mean[:, None, :]
    return Moments(count, x_mean, y_mean, gram, cross)


def _rows(node: Node, kernel: tuple[int, ...], given: Tensor, answer: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """(groups, rows, features) and (groups, rows, out): what the weight meets, and the answers at the same places."""
    if node.op == "linear":
        return given.reshape(1, -1, given.shape[-1]), answer.reshape(1, -1, answer.shape[-1])
    groups, stride, padding, dilation = (node.get(what) for what in ("groups", "stride", "padding", "dilation"))
    if node.op == "conv1d":
        given, answer, kernel = given.unsqueeze(2), answer.unsqueeze(2), (1, *kernel)
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    height, width = answer.shape[2:]
    every = max(1, int((height * width / PLACES) ** 0.5))
    steps = (min(every, height), min(every, width))
    top, left = number % steps[0], (number // steps[0] + number) % steps[1]
    padded = F.pad(given, (padding[1], padding[1], padding[0], padding[0]))
    seen = padded[:, :, top * stride[0] :, left * stride[1] :]
    strides = (stride[0] * steps[0], stride[1] * steps[1])
    patches = F.unfold(seen, kernel, dilation=dilation, stride=strides)
    places = answer[:, :, top :: steps[0], left :: steps[1]].flatten(2)
    return _grouped(patches, groups), _grouped(places, groups)


def _grouped(values: Tensor, groups: int) -> Tensor:
    """(examples, groups x n, places) to (groups, examples x places, n)."""
    examples, _, places = values.shape
    return values.reshape(examples, groups, -1, places).permute(1, 0, 3, 2).reshape(groups, examples * places, -1)
