"""The statistics of one layer, gathered batch by batch.

READ FIRST
  1. A layer computes rows of inputs times its weight: X is what the weight meets, one row per example and
     position. For a convolution a row is a patch (channel, then kernel), so that it matches
     `weight.flatten(1)`; pads are zeros in it. For a transposed convolution a row is one position's channels.
  2. All input statistics have a leading axis of groups; it is 1 but for grouped convolutions.
  3. Sums are float64; the products behind them are float32 over at most `CHUNK` rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

# Rows per float32 product: rounding grows with the rows in one sum, overhead with the number of sums.
CHUNK = 4096


@dataclass(frozen=True)
class LayerStatistics:
    """What a layer met and gave.

    name         of the layer
    op           linear, conv1d, conv2d, conv_transpose2d
    count        rows of X
    input_sum    sum of the rows
    input_square sum of their squares
    input_min    smallest value of each feature
    input_max    largest value of each feature
    gram         X^T X, the sum over rows of x x^T, or nothing if it was not asked for
    output_count values per output channel
    output_mean  by channel
    output_var   by channel, around that mean, divided by the count
    """

    name: str
    op: str
    count: int
    input_sum: Float64[Tensor, "groups features"]
    input_square: Float64[Tensor, "groups features"]
    input_min: Float[Tensor, "groups features"]
    input_max: Float[Tensor, "groups features"]
    gram: Float64[Tensor, "groups features features"] | None
    output_count: int
    output_mean: Float64[Tensor, " out"]
    output_var: Float64[Tensor, " out"]

    @property
    def input_mean(self) -> Float64[Tensor, "groups features"]:
        return self.input_sum / self.count

    @property
    def second_moment(self) -> Float64[Tensor, "groups features features"]:
        """X^T X / count; half the Hessian of the layer's mean squared error in each row of its weight."""
        assert self.gram is not None, f"'{self.name}' was collected without second moments"
        return self.gram / self.count

    @property
    def input_norm(self) -> Float64[Tensor, "groups features"]:
        """The Euclidean norm of each feature over all rows."""
        return self.input_square.sqrt()


class Gathering:
    """LayerStatistics in the making."""

    def __init__(
        self, name: str, op: str, groups: int, features: int, out: int, device: torch.device, gram: bool
    ) -> None:
        def zeros(*size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.float64, device=device)

        self.name, self.op, self.count, self.output_count = name, op, 0, 0
        self.sum, self.square = zeros(groups, features), zeros(groups, features)
        self.min = torch.full((groups, features), float("inf"), device=device)
        self.max = torch.full((groups, features), float("-inf"), device=device)
        self.gram = zeros(groups, features, features) if gram else None
        self.mean, self.deviations = zeros(out), zeros(out)

    def add_rows(self, rows: Float[Tensor, "groups rows features"]) -> None:
        """More rows of X."""
        for chunk in torch.split(rows.float(), CHUNK, dim=1):
            self.count += chunk.shape[1]
            self.sum += chunk.sum(1, dtype=torch.float64)
            self.square += chunk.square().sum(1, dtype=torch.float64)
            self.min = torch.minimum(self.min, chunk.amin(1))
            self.max = torch.maximum(self.max, chunk.amax(1))
            if self.gram is not None:
                self.gram += chunk.transpose(1, 2) @ chunk

    def add_outputs(self, values: Float[Tensor, "rows out"]) -> None:
        """More outputs; means and deviations merge as in Chan et al. 1983, eq. 2.1."""
        values = values.double()
        count, mean = len(values), values.mean(0)
        total = self.output_count + count
        away = mean - self.mean
        self.deviations += (values - mean).square().sum(0) + away.square() * (self.output_count * count / total)
        self.mean += away * (count / total)
        self.output_count = total

    def done(self) -> LayerStatistics:
        return LayerStatistics(
            name=self.name,
            op=self.op,
            count=self.count,
            input_sum=self.sum,
            input_square=self.square,
            input_min=self.min,
            input_max=self.max,
            gram=self.gram,
            output_count=self.output_count,
            output_mean=self.mean,
            output_var=self.deviations / max(self.output_count, 1),
        )
