"""A range of every lane of a weight's matrix, cut into vectors of one length that are sums of table entries.

READ FIRST
  1. A weight is a matrix, rows by the rest (one row if it has one dimension). Its lanes are the rows (`axis` in) or the
     columns (out); each lane is cut into sub-vectors of neighbours. Flattened kernels come channel by channel, so along
     `in` a sub-vector of 9 is one 3x3 kernel.
  2. Parts follow each other along the lane, each with tables of its own. Where the length does not divide a lane, the
     rest of all lanes is a last part of shorter vectors.
  3. A vector is the sum of one entry of each table, from the first to the last in float32: what `sum` of the file is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from tersenet.bits import IntStream
from tersenet.errors import TersenetError
from tersenet.forms.dense import DTYPES, smallest_spelling, through_float16
from tersenet.storage import Floats, Integers, Reshape, Storage, Sum, Table

Axis = Literal["in", "out"]
Tables = list[Float32[np.ndarray, "k dim"]]
Codes = Int64[np.ndarray, "tables n"]


class Cut(NamedTuple):
    """Where a part lies on each lane: from `start`, so many `places` of `dim` neighbours."""

    start: int
    places: int
    dim: int


def cuts(length: int, dim: int, shared: bool) -> list[Cut]:
    """A lane of `length` in vectors of `dim`: one part for all, or one for each place; the rest is a part of its own."""
    whole, rest = divmod(length, dim)
    found = [Cut(0, whole, dim)] if shared and whole else [Cut(place * dim, 1, dim) for place in range(whole)]
    return found + ([Cut(whole * dim, 1, rest)] if rest else [])


def lanes_of(weight: Tensor, axis: Axis) -> Float[Tensor, "lanes length"]:
    """The rows of the weight's matrix, or its columns."""
    rows = weight.reshape(1, -1) if weight.ndim < 2 else weight.flatten(1)
    return rows if axis == "in" else rows.T


def vectors_of(lanes: Float[Tensor, "lanes length"], cut: Cut) -> Float32[np.ndarray, "n dim"]:
    """The vectors of a part, lane by lane."""
    here = lanes[:, cut.start : cut.start + cut.places * cut.dim]
    return np.ascontiguousarray(here.numpy(), dtype=np.float32).reshape(-1, cut.dim)


def total(tables: Tables, codes: Codes) -> Float32[np.ndarray, "n dim"]:
    """What codes say."""
    found: np.ndarray = tables[0][codes[0]]
    for table, chosen in zip(tables[1:], codes[1:]):
        found = found + table[chosen]
    return found


class _Pick(torch.autograd.Function):
    """table[codes], with the gradient of an entry the sum over its uses (Han et al. 2016, eq. 3, for vectors)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.shape = table.shape
        return table[codes.long()]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (codes,) = ctx.saved_tensors
        k, dim = ctx.shape
        # Summed in float64, in the order of the vectors, so that the same run gives the same bits.
        cells = codes.long()[:, None] * dim + torch.arange(dim, device=codes.device)
        summed = torch.bincount(cells.reshape(-1), weights=grads[0].reshape(-1).double(), minlength=k * dim)
        return summed.reshape(k, dim).to(grads[0].dtype), None


class Part(nn.Module):
    """tables   (k, dim) each, float32; trainable. Their k may differ
    codes     which entry of each table a vector takes, (tables, n), n = lanes x places; fixed after fit
    """

    codes: Tensor

    def __init__(self, tables: Sequence[Tensor], codes: Tensor, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self.tables = nn.ParameterList([nn.Parameter(table.detach().clone()) for table in tables])
        largest = max(len(table) for table in tables)
        self.register_buffer("codes", codes.to(torch.uint8 if largest <= 256 else torch.int32))

    def forward(self, half: bool) -> Float[Tensor, "n dim"]:
        picked: list[Tensor] = [
            _Pick.apply(through_float16(table) if half else table, codes)  # type: ignore[no-untyped-call]
            for table, codes in zip(self.tables, self.codes)
        ]
        found = picked[0]
        for one in picked[1:]:
            found = found + one
        return found

    def arrays(self, half: bool) -> Tables:
        """The tables as they are stored, for numpy."""
        kept = [table.detach().cpu() for table in self.tables]
        return [(through_float16(table) if half else table).numpy() for table in kept]

    def lower(self, dtype: str, summed: bool, coder: str) -> Storage:
        """The part as a tree of n x dim numbers; `summed` says `sum` also of a single table."""
        trees = [
            _lower_table(table.detach().cpu().to(DTYPES[dtype]).numpy(), codes.cpu().numpy(), coder)
            for table, codes in zip(self.tables, self.codes)
        ]
        return Sum(tuple(trees)) if summed else trees[0]

    @classmethod
    def lift(cls, tree: Storage, summed: bool, lanes: int, start: int) -> tuple[Part, str] | None:
        """A part that `lower` has written and the dtype of its tables, or None if it is something else."""
        if isinstance(tree, Reshape):
            tree = tree.source
        if isinstance(tree, Sum) != summed:
            return None
        found = [_lift_table(one) for one in (tree.parts if isinstance(tree, Sum) else (tree,))]
        known = [one for one in found if one is not None]
        if len(known) < len(found) or len({(table.dtype, table.shape[1]) for table, _ in known}) > 1:
            return None
        dim, n = known[0][0].shape[1], len(known[0][1])
        if n == 0 or n % lanes or dim == 0:
            return None
        tables = [torch.from_numpy(table.astype(np.float32)) for table, _ in known]
        codes = torch.from_numpy(np.stack([codes for _, codes in known]))
        return cls(tables, codes, Cut(start, n // lanes, dim)), known[0][0].dtype.name


def _lower_table(entries: np.ndarray, codes: np.ndarray, coder: str) -> Table:
    """Entries that no vector takes are left out."""
    used, codes = np.unique(codes, return_inverse=True)
    entries = np.ascontiguousarray(entries[used])
    stream = IntStream(name="index", values=codes.reshape(-1), alphabet=len(entries))
    return Table(Reshape(smallest_spelling(entries.reshape(-1), coder), entries.shape), Integers(stream))


def _lift_table(tree: Storage) -> tuple[np.ndarray, np.ndarray] | None:
    if not (isinstance(tree, Table) and isinstance(tree.entries, Reshape) and isinstance(tree.index, Integers)):
        return None
    floats = tree.entries.source
    if not isinstance(floats, Floats) or len(tree.entries.shape) != 2:
        return None
    codes = tree.index.stream.values.astype(np.int64)
    k = tree.entries.shape[0]
    if codes.size and int(codes.max()) >= k:
        raise TersenetError(f"an index of {int(codes.max())} into a codebook of {k} sub-vectors")
    return floats.values.reshape(tree.entries.shape), codes
