"""What product and residual quantization share: a weight whose sub-vectors are sums of table entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from tersenet.bits import entropy_bits
from tersenet.errors import TersenetError
from tersenet.forms._vector_part import Axis, Codes, Part, Tables, lanes_of, total, vectors_of
from tersenet.forms.base import Form, check_weight
from tersenet.forms.dense import DTYPES
from tersenet.storage import Concat, Permute, Reshape, Storage


class VectorForm(Form):
    """parts   ranges of the lanes one after another, each with its tables (`_vector_part`)
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
        """The codes whose sum comes nearest to each of the points (n, dim)."""
        raise NotImplementedError

    @property
    def pieces(self) -> list[Part]:
        return [cast(Part, part) for part in self.parts]

    @property
    def columns_together(self) -> int:
        """Columns of the weight's matrix that are decided at once; the last of a row may be fewer."""
        return self.pieces[0].cut.dim if self.axis == "in" else 1

    @property
    def _half(self) -> bool:
        return self.table == "float16"

    def forward(self) -> Tensor:
        lanes = _lanes(self.shape, self.axis)
        matrix = torch.cat([part(self._half).reshape(lanes, -1) for part in self.pieces], dim=1)
        return (matrix if self.axis == "in" else matrix.T).reshape(self.shape)

    def rate_bits(self) -> Tensor:
        bits = self._table_bits()
        for part in self.pieces:
            for codes in part.codes:
                bits += float(entropy_bits(counts=torch.bincount(codes.long()).cpu().numpy()))
        return torch.tensor(bits, dtype=torch.float64)

    def formula_bits(self) -> float:
        """b bits for each number of a table, log2 k for each code: with one table k n b + s m log2 k, with t tables of
        rows t k n b + t m log2 k (Gong et al. 2014, sections 3.3 and 3.4).
        """
        sizes = [(len(table), part.codes.shape[1]) for part in self.pieces for table in part.tables]
        return self._table_bits() + sum(n * float(np.log2(k)) for k, n in sizes)

    def _table_bits(self) -> float:
        return float(torch.finfo(DTYPES[self.table]).bits * sum(table.numel() for table in self.parameters()))

    def remarks(self, k: int, dim: int | None, rounds: int = 1) -> list[str]:
        """What became of what was asked, where it became something else, as sentences."""
        found = []
        cuts = [part.cut for part in self.pieces]
        if dim is not None and cuts[-1].dim != dim:
            length = sum(cut.places * cut.dim for cut in cuts)
            found.append(
                f"{dim} does not divide the {length} weights of a {'row' if self.axis == 'in' else 'column'}; the last "
                f"{cuts[-1].dim} have a codebook of their own"
            )
        whole = [part for part in self.pieces if dim is None or part.cut.dim == dim]
        least = min((len(table) for part in whole for table in part.tables), default=k)
        if least < k:
            found.append(f"{least} different sub-vectors are left, so the codebook has {least} entries, not {k}")
        fewest = min((len(part.tables) for part in whole), default=rounds)
        if fewest < rounds:
            found.append(f"nothing is left to code after {fewest} of {rounds} rounds, so there are no more")
        return found

    def nearest(self, values: Float64[Tensor, "rows n"], columns: Tensor) -> Float64[Tensor, "rows n"]:
        """The nearest that the tables can say to values of the weight's columns (n,).

        Columns come in whole sub-vectors, each in order and from its first column on; rows are those of the weight.
        """
        if self.axis == "out":
            return torch.from_numpy(self._rounded(values.cpu().numpy().T, self.pieces).T).to(values)
        found, at = torch.empty_like(values), 0
        while at < len(columns):
            part = self._starting(int(columns[at]))
            here = slice(at, at + part.cut.dim)
            found[:, here] = torch.from_numpy(self._rounded(values[:, here].cpu().numpy(), [part]))
            at += part.cut.dim
        return found

    def _starting(self, column: int) -> Part:
        """The part that has a sub-vector from this column on."""
        for part in self.pieces:
            start, places, dim = part.cut
            if start <= column < start + places * dim and (column - start) % dim == 0:
                return part
        raise TersenetError(f"column {column} begins no sub-vector; pass whole ones, {self.columns_together} at a time")

    def _rounded(self, lanes: np.ndarray, parts: list[Part]) -> np.ndarray:
        """Lanes (n, length), spanned by the parts (or by one vector of a single part), as these can say them."""
        found, start = np.empty(lanes.shape, np.float32), 0
        for part in parts:
            wide = min(part.cut.places * part.cut.dim, lanes.shape[1] - start)
            vectors = np.ascontiguousarray(lanes[:, start : start + wide], np.float32).reshape(-1, part.cut.dim)
            tables = part.arrays(self._half)
            found[:, start : start + wide] = total(tables, self.encode(vectors, tables)).reshape(len(lanes), wide)
            start += wide
        return found

    def snapped(self, weight: Tensor) -> VectorForm:
        """The same tables, each sub-vector of `weight` at its nearest."""
        weight = check_weight(weight, "tables of sub-vectors")
        if tuple(weight.shape) != self.shape:
            raise TersenetError(f"a weight of shape {tuple(weight.shape)} for tables of one of {self.shape}")
        lanes = lanes_of(weight, self.axis)
        parts = []
        for part in self.pieces:
            codes = self.encode(vectors_of(lanes, part.cut), part.arrays(self._half))
            parts.append(Part([table.cpu() for table in part.tables], torch.from_numpy(codes), part.cut))
        return type(self)(self.shape, parts, self.axis, self.table)

    def lower(self, coder: str) -> Storage:
        lanes = _lanes(self.shape, self.axis)
        trees = [part.lower(self.table, self.summed, coder) for part in self.pieces]
        if len(trees) > 1 or self.axis == "out":
            trees = [_shaped(tree, (lanes, tree.numel // lanes)) for tree in trees]
        tree = trees[0] if len(trees) == 1 else Concat(tuple(trees), 1)
        if self.axis == "out":
            tree = Permute(tree, (1, 0))
        return _shaped(tree, self.shape)

    @classmethod
    def lift(cls, storage: Storage) -> VectorForm | None:
        tree = storage.source if isinstance(storage, Reshape) else storage
        axis: Axis = "in"
        if isinstance(tree, Permute):
            if tree.axes != (1, 0):
                return None
            axis, tree = "out", tree.source
        joined = tree.parts if isinstance(tree, Concat) and tree.axis == 1 else (tree,)
        if storage.numel == 0:
            return None
        parts, dtypes, start = [], set(), 0
        for one in joined:
            found = Part.lift(one, cls.summed, _lanes(storage.shape, axis), start)
            if found is None:
                return None
            parts.append(found[0])
            dtypes.add(found[1])
            start += found[0].cut.places * found[0].cut.dim
        return cls(storage.shape, parts, axis, dtypes.pop()) if len(dtypes) == 1 else None


def _lanes(shape: tuple[int, ...], axis: Axis) -> int:
    rows = shape[0] if len(shape) > 1 else 1
    return rows if axis == "in" else int(np.prod(shape)) // rows


def _shaped(tree: Storage, shape: tuple[int, ...]) -> Storage:
    return tree if tree.shape == shape else Reshape(tree, shape)
