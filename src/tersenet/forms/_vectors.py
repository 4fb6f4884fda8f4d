"""What product and residual quantization share: weights cut into short vectors, each a sum of table entries.

READ FIRST
  1. A weight is a matrix, rows by the rest (one row if it has one dimension). Its lanes are the rows (`axis` in) or the
     columns (out); each lane is cut into sub-vectors of neighbours. Flattened kernels come channel by channel, so along
     `in` a sub-vector of 9 is one 3x3 kernel.
  2. A `Part` is a range of every lane cut into vectors of one length, with tables of its own. Parts follow each other
     along the lane. Where the length does not divide a lane, the rest of all lanes is a last part of shorter vectors.
  3. A vector is the sum of one entry of each table, from the first to the last in float32: what `sum` of the file is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from tersenet.bits import IntStream
from tersenet.errors import TersenetError
from tersenet.forms.base import Form, check_weight
from tersenet.forms.dense import DTYPES, smallest_spelling, through_float16
from tersenet.storage import Concat, Floats, Integers, Permute, Reshape, Storage, Sum, Table

Axis = Literal["in", "out"]
Tables = list[Float32[np.ndarray, "k dim"]]
Codes = Int64[np.ndarray, "tables n"]


class Cut(NamedTuple):
    """Where a part lies on each lane: from `start`, `count` vectors of `dim` neighbours."""

    start: int
    count: int
    dim: int


def cuts(length: int, dim: int, shared: bool) -> list[Cut]:
    """A lane of `length` in vectors of `dim`: one part for all, or one for each place; the rest is a part of its own."""
    whole, rest = divmod(length, dim)
    found = [Cut(0, whole, dim)] if shared and whole else [Cut(place * dim, 1, dim) for place in range(whole)]
    return found + ([Cut(whole * dim, 1, rest)] if rest else [])


def lanes_of(weight: Tensor, axis: Axis) -> Tensor:
    """(lanes, length): rows of the weight, or its columns."""
    rows = weight.reshape(1, -1) if weight.ndim < 2 else weight.flatten(1)
    return rows if axis == "in" else rows.T


def vectors_of(lanes: Tensor, cut: Cut) -> Float32[np.ndarray, "n dim"]:
    """The vectors of a part, lane by lane."""
    here = lanes[:, cut.start : cut.start + cut.count * cut.dim]
    return np.ascontiguousarray(here.numpy(), dtype=np.float32).reshape(-1, cut.dim)


def spread_importance(importance: Tensor | None, weight: Tensor, what: str) -> Tensor | None:
    """Importance of each weight: as it came, or from one number a column of the weight's matrix. Refused otherwise."""
    if importance is None:
        return None
    importance = importance.detach().to("cpu", torch.float32)
    if importance.shape == weight.shape:
        return importance
    columns = weight.numel() if weight.ndim < 2 else weight.numel() // weight.shape[0]
    if importance.shape == (columns,):
        return importance.expand(weight.numel() // columns, columns).reshape(weight.shape)
    raise TersenetError(
        f"{what}: importance of shape {tuple(importance.shape)} for a weight of shape {tuple(weight.shape)}; "
        f"give one number a weight, or one for each of its {columns} columns"
    )


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
    codes     which entry of each table a vector takes, (tables, n), n = lanes x count; fixed after fit
    """

    codes: Tensor

    def __init__(self, tables: Sequence[Tensor], codes: Tensor, cut: Cut) -> None:
        super().__init__()
        self.cut = cut
        self.tables = nn.ParameterList([nn.Parameter(table.clone()) for table in tables])
        largest = max(len(table) for table in tables)
        self.register_buffer("codes", codes.to(torch.uint8 if largest <= 256 else torch.int32))

    def forward(self, half: bool) -> Float[Tensor, "n dim"]:
        total: Tensor | None = None
        for table, codes in zip(self.tables, self.codes):
            picked: Tensor = _Pick.apply(through_float16(table) if half else table, codes)  # type: ignore[no-untyped-call]
            total = picked if total is None else total + picked
        assert total is not None
        return total

    def arrays(self, half: bool) -> Tables:
        """The tables as they are stored, for numpy."""
        kept = [table.detach().cpu() for table in self.tables]
        return [(through_float16(table) if half else table).numpy() for table in kept]


Encode = Callable[[np.ndarray, Tables], Codes]


class VectorForm(Form):
    """parts   see above
    axis     along which of the matrix's axes sub-vectors lie
    table    dtype of the stored tables, "float32" or "float16"
    """

    summed: ClassVar[bool]  # whether the file says `sum` of tables, so that each form knows its own

    def __init__(self, shape: tuple[int, ...], parts: Sequence[Part], axis: Axis, table: str) -> None:
        super().__init__()
        if table not in DTYPES:
            raise TersenetError(f"tables of sub-vectors are float32 or float16; got {table}")
        self.shape, self.axis, self.table = shape, axis, table
        self.parts = nn.ModuleList(parts)

    def encode(self, points: np.ndarray, tables: Tables) -> Codes:
        """The codes whose sum comes nearest to each point."""
        raise NotImplementedError

    @property
    def _half(self) -> bool:
        return self.table == "float16"

    @property
    def columns_together(self) -> int:
        """Columns of the weight's matrix that are decided at once; the last of a row may be fewer."""
        return self.parts[0].cut.dim if self.axis == "in" else 1  # type: ignore[union-attr]

    def forward(self) -> Tensor:
        lanes = self.shape and (self.shape[0] if len(self.shape) > 1 else 1)
        count = int(np.prod(self.shape))
        lanes = lanes if self.axis == "in" else count // lanes
        matrix = torch.cat([part(self._half).reshape(lanes, -1) for part in self.parts], dim=1)
        return (matrix if self.axis == "in" else matrix.T).reshape(self.shape)

    def rate_bits(self) -> Tensor:
        bits = self._table_bits()
        for part in self.parts:
            for codes, table in zip(part.codes, part.tables):  # type: ignore[arg-type]
                counts = torch.bincount(codes.long(), minlength=len(table)).double()
                used = counts[counts > 0]
                bits += float(-(used * (used / counts.sum()).log2()).sum())
        return torch.tensor(bits, dtype=torch.float64)

    def formula_bits(self) -> float:
        """Tables, and log2 k bits for each code of k: k n b + s m log2 k, or t times (Gong et al. 2014, section 3)."""
        pairs = [(len(table), part.codes.shape[1]) for part in self.parts for table in part.tables]  # type: ignore
        return self._table_bits() + sum(n * float(np.log2(k)) for k, n in pairs)

    def _table_bits(self) -> float:
        return float(torch.finfo(DTYPES[self.table]).bits * sum(table.numel() for table in self.parameters()))

    def nearest(self, values: Tensor, columns: Tensor) -> Tensor:
        """For values (rows, n) float64 in the weight's columns (n,), the nearest that the tables can say.

        Columns come in whole sub-vectors, each in order and from its first column on.
        """
        found = torch.empty_like(values)
        at = 0
        while at < len(columns):
            part, wide = self._part_at(int(columns[at]))
            here = values[:, at : at + wide]
            points = np.ascontiguousarray((here if self.axis == "in" else here.T).cpu().numpy(), dtype=np.float32)
            if self.axis == "in":
                found[:, at : at + wide] = torch.from_numpy(self._rounded(points, [part]))
            else:
                found[:, at : at + wide] = torch.from_numpy(self._rounded(points, list(self.parts)).T)  # type: ignore
            at += wide
        return found

    def _part_at(self, column: int) -> tuple[Part, int]:
        """The part that a column begins a sub-vector of, and how many columns that spans."""
        for part in self.parts:
            cut: Cut = part.cut  # type: ignore[assignment]
            if self.axis == "out":
                return part, 1  # type: ignore[return-value]
            if cut.start <= column < cut.start + cut.count * cut.dim and (column - cut.start) % cut.dim == 0:
                return part, cut.dim  # type: ignore[return-value]
        raise TersenetError(f"column {column} begins no sub-vector; pass whole ones, {self.columns_together} at a time")

    def _rounded(self, points: np.ndarray, parts: list[Part]) -> np.ndarray:
        """Points (lanes, width) as the parts that span the width can say them."""
        found, start = np.empty(points.shape, np.float32), 0
        for part in parts:
            cut = part.cut
            wide = min(cut.count * cut.dim, points.shape[1] - start)
            vectors = np.ascontiguousarray(points[:, start : start + wide]).reshape(-1, cut.dim)
            tables = part.arrays(self._half)
            codes = self.encode(vectors, tables)
            found[:, start : start + wide] = _total(tables, codes).reshape(len(points), wide)
            start += wide
        return found

    def snapped(self, weight: Tensor) -> VectorForm:
        """The same tables, each sub-vector of `weight` at its nearest."""
        weight = check_weight(weight, "tables of sub-vectors")
        if tuple(weight.shape) != self.shape:
            raise TersenetError(f"a weight of shape {tuple(weight.shape)} for tables of one of {self.shape}")
        lanes = lanes_of(weight, self.axis)
        parts = []
        for part in self.parts:
            codes = self.encode(vectors_of(lanes, part.cut), part.arrays(self._half))  # type: ignore
            tables = [table.detach() for table in part.tables]  # type: ignore[union-attr]
            parts.append(Part(tables, torch.from_numpy(codes), part.cut))  # type: ignore[arg-type]
        return type(self)(self.shape, parts, self.axis, self.table)

    def lower(self, coder: str) -> Storage:
        lanes = 1 if len(self.shape) < 2 else self.shape[0]
        lanes = lanes if self.axis == "in" else int(np.prod(self.shape)) // lanes
        trees = [self._lower_part(part, coder) for part in self.parts]  # type: ignore[arg-type]
        if len(trees) > 1 or self.axis == "out":
            trees = [_shaped(tree, (lanes, tree.numel // lanes)) for tree in trees]
        tree = trees[0] if len(trees) == 1 else Concat(tuple(trees), 1)
        if self.axis == "out":
            tree = Permute(tree, (1, 0))
        return _shaped(tree, self.shape)

    def _lower_part(self, part: Part, coder: str) -> Storage:
        tables = [
            _lower_table(table.detach().cpu().to(DTYPES[self.table]).numpy(), codes.cpu().numpy(), coder)
            for table, codes in zip(part.tables, part.codes)
        ]
        return Sum(tuple(tables)) if self.summed else tables[0]

    @classmethod
    def lift(cls, storage: Storage) -> VectorForm | None:
        shape = storage.shape
        tree = storage.source if isinstance(storage, Reshape) else storage
        axis: Axis = "in"
        if isinstance(tree, Permute):
            if tree.axes != (1, 0):
                return None
            axis, tree = "out", tree.source
        joined = tree.parts if isinstance(tree, Concat) and tree.axis == 1 else (tree,)
        rows = 1 if len(shape) < 2 else shape[0]
        count = int(np.prod(shape))
        if count == 0:
            return None
        lanes = rows if axis == "in" else count // rows
        parts, start, dtype = [], 0, ""
        for one in joined:
            found = _lift_part(one, cls.summed, lanes, start)
            if found is None:
                return None
            part, dtype = found
            parts.append(part)
            start += part.cut.count * part.cut.dim
        return cls(shape, parts, axis, dtype)


def _shaped(tree: Storage, shape: tuple[int, ...]) -> Storage:
    return tree if tree.shape == shape else Reshape(tree, shape)


def _total(tables: Tables, codes: Codes) -> np.ndarray:
    total = tables[0][codes[0]]
    for table, chosen in zip(tables[1:], codes[1:]):
        total = total + table[chosen]
    return total


def _lower_table(entries: np.ndarray, codes: np.ndarray, coder: str) -> Table:
    """Entries that no vector takes are left out."""
    used, codes = np.unique(codes, return_inverse=True)
    entries = entries[used]
    floats = smallest_spelling(np.ascontiguousarray(entries).reshape(-1), coder)
    stream = IntStream(name="index", values=codes.reshape(-1), alphabet=len(entries))
    return Table(Reshape(floats, entries.shape), Integers(stream))


def _lift_part(tree: Storage, summed: bool, lanes: int, start: int) -> tuple[Part, str] | None:
    if isinstance(tree, Reshape):
        tree = tree.source
    if isinstance(tree, Sum) != summed:
        return None
    found = [_lift_table(one) for one in (tree.parts if isinstance(tree, Sum) else (tree,))]
    known = [one for one in found if one is not None]
    if len(known) < len(found) or len({(table.dtype, table.shape[1]) for table, _ in known}) > 1:
        return None
    dim, n = known[0][0].shape[1], len(known[0][1])
    if n % lanes or dim == 0:
        return None
    tables = [torch.from_numpy(table.astype(np.float32)) for table, _ in known]
    codes = torch.from_numpy(np.stack([codes for _, codes in known]))
    return Part(tables, codes, Cut(start, n // lanes, dim)), known[0][0].dtype.name


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
