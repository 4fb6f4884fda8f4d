"""Weights that share k values, after Han et al. 2016, arXiv:1510.00149, section 3."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor, nn

from tersenet.bits import IntStream
from tersenet.errors import TersenetError
from tersenet.forms._grid import runs_at
from tersenet.forms._int8 import ShareOnGrid, fit_grid, levels_of, lift_grid, lower_grid
from tersenet.forms._kmeans import Start, assign, cluster
from tersenet.forms.base import Form, check_weight, spread_importance
from tersenet.forms.dense import check_range, smallest_spelling, through_float16
from tersenet.storage import Floats, Integers, Reshape, Storage, Table

TABLE_DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}


class _Share(torch.autograd.Function):
    """centroids[index], with the paper's gradient: that of a centroid is the sum over its weights (eq. 3)."""

    @staticmethod
    def forward(ctx: Any, centroids: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.k = len(centroids)
        return centroids[index.long()]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        grad = grads[0]
        # Summed in float64, in the order of the weights, so that the same run gives the same bits.
        summed = torch.bincount(index.reshape(-1), weights=grad.reshape(-1).double(), minlength=ctx.k)
        return summed.to(grad.dtype), None


class Codebook(Form):
    """centroids   k shared values, float32; trainable
    index       which of them each weight takes, fixed after fit; unsigned, shape of the weight
    table       dtype of the stored centroids, "float32", "float16" or "int8"
    scale       of int8 alone: float32 (1,), or one for each row of the first axis; fixed after fit. A weight is its
                centroid as a whole number of the first scale, times its row's scale
    """

    index: Tensor
    scale: Tensor | None

    def __init__(self, centroids: Tensor, index: Tensor, table: str = "float32", scale: Tensor | None = None) -> None:
        super().__init__()
        if table not in TABLE_DTYPES:
            raise TersenetError(f"a codebook's table is {', '.join(TABLE_DTYPES)}; got {table}")
        if (table == "int8") != (scale is not None):
            raise TersenetError(f"a codebook of {table} {'needs a' if scale is None else 'has no'} scale")
        self.shape = tuple(index.shape)
        self.table = table
        self.centroids = nn.Parameter(centroids.clone())
        # The smallest types that torch has for them: a codebook holds at most 65,536 values, and uint16 lacks most of
        # its operations.
        self.register_buffer("index", index.to(torch.uint8 if len(centroids) <= 256 else torch.int32))
        self.register_buffer("scale", scale)

    @classmethod
    def fit(
        cls,
        weight: Tensor,
        *,
        k: int,
        init: Start = "linear",
        table: str = "float32",
        per: Literal["tensor", "row"] = "tensor",
        importance: Tensor | None = None,
        seed: int = 0,
    ) -> Codebook:
        """k-means of the weights from one of the starts, or the exact optimum.

        init         "forgy", "density", "linear" (section 3.2), "kmeans++" or "optimum"
        per          of int8: one scale for the tensor, or one for each row of the first axis
        importance   of each weight, its factor in the squared error; or of each column of the weight's matrix
        A codebook larger than the number of distinct weights is reduced to them, one of int8 to distinct whole numbers.
        """
        weight = check_weight(weight, "codebook")
        check_range(weight, table)
        counted = spread_importance(importance, weight, "codebook")
        masses = None if counted is None or not counted.any() else counted.numpy()
        if table == "int8":
            centroids, index, scale = fit_grid(weight.numpy(), k, init, seed, masses, per == "row")
            return cls(centroids, index.reshape(weight.shape), table, scale)
        found, nearest = cluster(weight.reshape(-1).numpy(), k, init=init, seed=seed, weights=masses)
        return cls(torch.from_numpy(found), torch.from_numpy(nearest.astype(np.int64)).reshape(weight.shape), table)

    @classmethod
    def of(cls, weight: Tensor, centroids: Tensor, table: str = "float32", scale: Tensor | None = None) -> Codebook:
        """Each weight at the nearest of centroids that are there already; one scale at most."""
        weight = check_weight(weight, "codebook")
        index = torch.from_numpy(assign(weight.numpy(), centroids.detach().numpy()).astype(np.int64))
        return cls(centroids.detach(), index, table, scale)

    @property
    def k(self) -> int:
        return len(self.centroids)

    def forward(self) -> Tensor:
        shared: Tensor
        if self.scale is not None:
            shared = ShareOnGrid.apply(self.centroids, self.index, self.scale)  # type: ignore[no-untyped-call]
            return shared
        centroids: Tensor = through_float16(self.centroids) if self.table == "float16" else self.centroids
        shared = _Share.apply(centroids, self.index)  # type: ignore[no-untyped-call]
        return shared

    def rate_bits(self) -> Tensor:
        counts = torch.bincount(self.index.reshape(-1), minlength=self.k).double()
        used = counts[counts > 0]
        bits = -(used * (used / counts.sum()).log2()).sum()
        return bits + self._table_bits()

    def formula_bits(self) -> float:
        """n log2 k + k b, and 32 for each scale (Han et al. 2016, eq. 1)."""
        return self.index.numel() * float(np.log2(self.k)) + self._table_bits()

    def _table_bits(self) -> float:
        scales = 0 if self.scale is None else len(self.scale)
        return self.k * 8.0 * TABLE_DTYPES[self.table].itemsize + 32.0 * scales

    def lower(self, coder: str) -> Storage:
        table = self._lower_flat(coder)
        return table if len(self.shape) == 1 else Reshape(table, self.shape)

    def _lower_flat(self, coder: str) -> Storage:
        index = self.index.cpu().reshape(-1).numpy()
        used = np.unique(index.astype(np.int64))
        if len(used) < self.k:
            index = np.searchsorted(used, index)
        if self.scale is not None:
            levels = levels_of(self.centroids, self.scale).cpu().numpy()[used]
            return lower_grid(levels, index, self.scale.cpu().numpy(), coder)
        entries = self.centroids.detach().cpu().to(TABLE_DTYPES[self.table]).numpy()[used]
        stream = IntStream(name="index", values=index, alphabet=max(len(entries), 1))
        return Table(smallest_spelling(entries, coder), Integers(stream))

    def nearest(self, values: Float64[Tensor, "rows n"], columns: Int64[Tensor, " n"]) -> Float64[Tensor, "rows n"]:
        if self.scale is None:
            return self._entries()[self._nearest_index(values)].double()
        scale = self.scale.cpu()[runs_at(self.shape, len(self.scale), columns)]
        levels = self._entries()[self._nearest_index(values / scale.double())]
        return (levels * scale).double()

    def snapped(self, weight: Tensor) -> Codebook:
        weight = check_weight(weight, "codebook")
        if self.scale is not None:
            weight = weight.reshape(len(self.scale), -1).double() / self.scale.cpu().double()[:, None]
        index = self._nearest_index(weight).reshape(self.shape)
        scale = None if self.scale is None else self.scale.cpu().clone()
        return Codebook(self.centroids.detach().cpu(), index, self.table, scale)

    def _entries(self) -> Float32[Tensor, " k"]:
        """The table as the file has it, of int8 without the scale."""
        centroids = self.centroids.detach().cpu()
        if self.scale is not None:
            return levels_of(centroids, self.scale.cpu())
        return centroids.to(TABLE_DTYPES[self.table]).to(torch.float32)

    def _nearest_index(self, values: Tensor) -> Int64[Tensor, "..."]:
        return torch.from_numpy(assign(values.numpy(), self._entries().numpy()).astype(np.int64))

    @classmethod
    def lift(cls, storage: Storage) -> Codebook | None:
        grid = lift_grid(storage)
        if grid is not None:
            return cls(grid[0], grid[1].reshape(storage.shape), "int8", grid[2])
        table = storage.source if isinstance(storage, Reshape) else storage
        if not (isinstance(table, Table) and isinstance(table.entries, Floats) and isinstance(table.index, Integers)):
            return None
        values = table.entries.values
        index = table.index.stream.values.astype(np.int64)
        if index.size and int(index.max()) >= len(values):
            raise TersenetError(f"an index of {int(index.max())} into a codebook of {len(values)} values")
        centroids = torch.from_numpy(values.astype(np.float32))
        return cls(centroids, torch.from_numpy(index).reshape(storage.shape), values.dtype.name)
