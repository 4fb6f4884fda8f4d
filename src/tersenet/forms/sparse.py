"""A few weights and where they are: relative indices with fillers or a bitmask, after Han et al. 2016, section 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from tersenet.bits import IntStream
from tersenet.errors import TersenetError
from tersenet.forms._layout import smallest_layout
from tersenet.forms.base import Form, check_weight, lift
from tersenet.forms.dense import Dense
from tersenet.storage import Floats, Integers, Permute, Reshape, Scatter, Storage, Table, decode, reorder

# Bits of a relative index in the paper: of convolutions, and of matrices.
INDEX_BITS, INDEX_BITS_MATRIX = 8, 5


class _Place(torch.autograd.Function):
    """Zeros of a shape with values at given flat positions; the gradient is read back from there."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, position: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(position)
        dense = values.new_zeros(shape)
        dense.view(-1)[position] = values
        return dense

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (position,) = ctx.saved_tensors
        return grads[0].reshape(-1)[position], None, None


class Sparse(Form):
    """values     a form over the kept weights, one-dimensional, in row-major order; trains as it does
    position   their places in the flattened weight, ascending int64, fixed after fit
    """

    position: Tensor
    values: Form

    def __init__(self, values: Form, position: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.values = values
        self.register_buffer("position", position)

    @classmethod
    def fit(cls, weight: Tensor, *, values: Callable[[Tensor], Form] = Dense.fit) -> Sparse:
        """The weights that are not zero, with what `values` makes of them. An all-zero weight keeps none."""
        weight = check_weight(weight, "sparse")
        flat = weight.reshape(-1)
        position = torch.nonzero(flat).reshape(-1)
        kept = flat[position]
        inner = values(kept) if len(kept) else Dense(kept)
        return cls(inner, position, tuple(weight.shape))

    def with_values(self, values: Callable[[Tensor], Form]) -> Sparse:
        """The same places, their values in another form."""
        kept = self.values().detach()
        return type(self)(values(kept) if len(kept) else Dense(kept), self.position.clone(), self.shape)

    @property
    def density(self) -> float:
        """Share of the weights that are kept."""
        return len(self.position) / max(int(np.prod(self.shape)), 1)

    def forward(self) -> Tensor:
        placed: Tensor = _Place.apply(self.values(), self.position, self.shape)  # type: ignore[no-untyped-call]
        return placed

    def rate_bits(self) -> Tensor:
        total = float(np.prod(self.shape))
        p = torch.tensor(min(max(self.density, 1 / total), 1 - 1 / total) if total > 1 else 0.5, dtype=torch.float64)
        mask = -total * (p * p.log2() + (1 - p) * (1 - p).log2())
        return mask + self.values.rate_bits()

    def formula_bits(self) -> float | None:
        """The values', and a relative index for each of them and each filler (Han et al. 2016, section 2 and figure 2)."""
        values = self.values.formula_bits()
        if values is None:
            return None
        bits = INDEX_BITS if len(self.shape) > 2 else INDEX_BITS_MATRIX
        gaps = torch.diff(self.position, prepend=self.position.new_tensor([-1])) - 1
        return values + bits * (len(gaps) + int((gaps // 2**bits).sum()))

    def lower(self, coder: str) -> Storage:
        values = self.values.lower(coder)
        return smallest_layout(self.position.cpu().numpy(), self.shape, values, coder)

    def nearest(self, values: Float64[Tensor, "rows n"], columns: Int64[Tensor, " n"]) -> Float64[Tensor, "rows n"]:
        """Zero where nothing is kept; elsewhere what the form of the values has."""
        rows = len(values)
        width = int(np.prod(self.shape)) // rows
        flat = torch.arange(rows)[:, None] * width + columns
        position = self.position.cpu()
        found = torch.searchsorted(position, flat).clamp(max=max(len(position) - 1, 0))
        kept = position[found] == flat if len(position) else torch.zeros_like(flat, dtype=torch.bool)
        nearest = torch.zeros_like(values)
        if bool(kept.any()):
            nearest[kept] = self.values.nearest(values[kept][None], found[kept])[0]
        return nearest

    def snapped(self, weight: Tensor) -> Sparse:
        position = self.position.cpu()
        kept = weight.detach().cpu().reshape(-1)[position]
        return Sparse(self.values.snapped(kept) if len(kept) else Dense(kept), position, self.shape)

    @classmethod
    def lift(cls, storage: Storage) -> Sparse | None:
        return _lift_codes(storage) or _lift_scatter(storage)


def _lift_codes(storage: Storage) -> Sparse | None:
    """A code for every place, one code being the value 0.0, is how a nearly full sparse weight is stored."""
    table = storage.source if isinstance(storage, Reshape) else storage
    if not (isinstance(table, Table) and isinstance(table.entries, Floats) and isinstance(table.index, Integers)):
        return None
    entries, index = table.entries.values, table.index.stream.values
    zeros = np.flatnonzero(entries == 0)
    if len(entries) < 2 or len(zeros) != 1 or np.signbit(entries[zeros[0]]):
        return None
    zero = int(zeros[0])
    position = np.flatnonzero(index != zero)
    kept = index[position] - (index[position] > zero)
    stream = IntStream(name="index", values=kept, alphabet=len(entries) - 1)
    values = lift(Table(Floats(np.delete(entries, zero)), Integers(stream)))
    return None if values is None else Sparse(values, torch.from_numpy(position), storage.shape)


def _lift_scatter(storage: Storage) -> Sparse | None:
    """Any nesting of scatter, reshape and permute around one-dimensional values."""
    leaf = _innermost_values(storage)
    if leaf is None or len(leaf.shape) != 1 or leaf.kind != "float":
        return None
    # Send 1, 2, ... through the same placement: where number i lands is where value i - 1 belongs.
    count = leaf.numel
    numbers = IntStream(name="order", values=np.arange(1, count + 1), alphabet=count + 1)
    landed = decode(_with_leaf(storage, leaf, Integers(numbers))).reshape(-1)
    position = np.flatnonzero(landed)
    order = landed[position].astype(np.int64) - 1
    try:
        values = lift(reorder(leaf, order) if (np.diff(order) < 0).any() else leaf)
    except TersenetError:
        return None
    return None if values is None else Sparse(values, torch.from_numpy(position), storage.shape)


def _innermost_values(node: Storage) -> Storage | None:
    """What the last scatter on the way down places; what lies below belongs to the form of the values."""
    found = None
    while isinstance(node, (Reshape, Permute, Scatter)):
        if isinstance(node, Scatter):
            found = node.values
        node = node.values if isinstance(node, Scatter) else node.source
    return found


def _with_leaf(node: Storage, leaf: Storage, replacement: Storage) -> Storage:
    if node is leaf:
        return replacement
    if isinstance(node, Reshape):
        return Reshape(_with_leaf(node.source, leaf, replacement), node.shape)
    if isinstance(node, Permute):
        return Permute(_with_leaf(node.source, leaf, replacement), node.axes)
    assert isinstance(node, Scatter)
    return Scatter(_with_leaf(node.values, leaf, replacement), node.position, node.size, node.bitmask)
