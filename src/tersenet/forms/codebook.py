"""Weights that share k values, after Han et al. 2016, arXiv:1510.00149, section 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn

from tersenet.bits import IntStream
from tersenet.errors import TersenetError
from tersenet.forms._kmeans import assign, cluster
from tersenet.forms.base import Form, check_weight
from tersenet.forms.dense import smallest_spelling, through_float16
from tersenet.storage import Floats, Integers, Reshape, Storage, Table

TABLE_DTYPES = {"float32": torch.float32, "float16": torch.float16}


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
    table       dtype of the stored centroids, "float32" or "float16"
    """

    index: Tensor

    def __init__(self, centroids: Tensor, index: Tensor, table: str = "float32") -> None:
        super().__init__()
        if table not in TABLE_DTYPES:
            raise TersenetError(f"a codebook's table is float32 or float16; got {table}")
        self.shape = tuple(index.shape)
        self.table = table
        self.centroids = nn.Parameter(centroids.clone())
        # The smallest types that torch has for them: a codebook holds at most 65,536 values, and uint16 lacks most of
        # its operations.
        self.register_buffer("index", index.to(torch.uint8 if len(centroids) <= 256 else torch.int32))

    @classmethod
    def fit(cls, weight: Tensor, *, k: int, init: str = "linear", table: str = "float32", seed: int = 0) -> Codebook:
        """k-means of the weights from one of the paper's three starts, or the exact optimum.

        init   "forgy", "density", "linear" (section 3.2) or "optimum"
        A codebook larger than the number of distinct weights is reduced to them.
        """
        weight = check_weight(weight, "codebook")
        centroids, index = cluster(weight.reshape(-1).numpy(), k, init=init, seed=seed)  # type: ignore[arg-type]
        return cls(torch.from_numpy(centroids), torch.from_numpy(index.astype(np.int64)).reshape(weight.shape), table)

    @property
    def k(self) -> int:
        return len(self.centroids)

    def forward(self) -> Tensor:
        centroids: Tensor = through_float16(self.centroids) if self.table == "float16" else self.centroids
        shared: Tensor = _Share.apply(centroids, self.index)  # type: ignore[no-untyped-call]
        return shared

    def rate_bits(self) -> Tensor:
        counts = torch.bincount(self.index.reshape(-1), minlength=self.k).double()
        used = counts[counts > 0]
        bits = -(used * (used / counts.sum()).log2()).sum()
        return bits + self.k * torch.finfo(TABLE_DTYPES[self.table]).bits

    def lower(self, coder: str) -> Storage:
        entries = self.centroids.detach().cpu().to(TABLE_DTYPES[self.table]).numpy()
        index = self.index.cpu().reshape(-1).numpy()
        used = np.unique(index.astype(np.int64))
        if len(used) < len(entries):
            entries, index = entries[used], np.searchsorted(used, index)
        stream = IntStream(name="index", values=index, alphabet=max(len(entries), 1))
        table = Table(smallest_spelling(entries, coder), Integers(stream))
        return table if len(self.shape) == 1 else Reshape(table, self.shape)

    def nearest(self, values: Float64[Tensor, "rows n"], columns: Int64[Tensor, " n"]) -> Float64[Tensor, "rows n"]:
        return self._values()[self._nearest_index(values)].double()

    def snapped(self, weight: Tensor) -> Codebook:
        index = self._nearest_index(weight.detach().reshape(self.shape))
        return Codebook(self.centroids.detach().cpu(), index, self.table)

    def _values(self) -> Tensor:
        """What the centroids are in the file."""
        return self.centroids.detach().cpu().to(TABLE_DTYPES[self.table]).to(torch.float32)

    def _nearest_index(self, values: Tensor) -> Tensor:
        return torch.from_numpy(assign(values.cpu().numpy(), self._values().numpy()).astype(np.int64))

    @classmethod
    def lift(cls, storage: Storage) -> Codebook | None:
        table = storage.source if isinstance(storage, Reshape) else storage
        if not (isinstance(table, Table) and isinstance(table.entries, Floats) and isinstance(table.index, Integers)):
            return None
        values = table.entries.values
        index = table.index.stream.values.astype(np.int64)
        if index.size and int(index.max()) >= len(values):
            raise TersenetError(f"an index of {int(index.max())} into a codebook of {len(values)} values")
        centroids = torch.from_numpy(values.astype(np.float32))
        return cls(centroids, torch.from_numpy(index).reshape(storage.shape), values.dtype.name)
