"""The columns of Han et al. 2016 (arXiv:1510.00149, tables 2 to 5), from the real streams of a file.

Each tensor is seen in three stages, as the paper has them. P keeps the non-zeros as 32-bit floats and says
where they are in fixed-width indices. P+Q shares values: fixed-width codes and a table. P+Q+H is what lies on
disk.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tersenet.bits import width_for
from tersenet.container import Contents
from tersenet.storage import Affine, Floats, Integers, Scatter, Storage, Sum, Table, decode, walk
from tersenet.storage.describe import describe

FLOAT_BITS = 32
POSITION_ROLES = ("gaps", "bitmask")
TABLE_ROLES = ("table", "zero", "step")
OTHER_ROLES = ("structure",)
DERIVED = (
    "kept",
    "original_bits",
    "rate_pruned",
    "rate_shared",
    "rate_coded",
    "formula_rate",
    "formula_rate_real",
    "size_bytes",
)


@dataclass(frozen=True, kw_only=True)
class CompressionRow:
    """One tensor, or the total of all. Bits are a mean over what is stored; counts and bytes add up.

    weights            elements of the tensor
    nonzeros           of them that are not zero
    stored             of them that have a code or a value in the file; the rest are zeros in between
    index_symbols      entries of the position streams: a gap each, fillers too, or a bit for each place
    weight_bits        of a stored weight at fixed width: log2 k, rounded up
    weight_bits_coded  of a stored weight on disk, its stream's header included
    index_bits         of a gap at fixed width; of a kept weight, where places are a bitmask or nested
    index_bits_coded   of a stored weight's position on disk
    k                  shared values; 0 where none are shared
    table_bits         of the shared values, or steps and zero points
    stage bits         pruned_bits, shared_bits, coded_bits: the tensor after P, P+Q, P+Q+H
    """

    name: str
    form: str
    weights: int
    nonzeros: int
    stored: int
    index_symbols: int
    weight_bits: float
    weight_bits_coded: float
    index_bits: float
    index_bits_coded: float
    k: int
    table_bits: int
    pruned_bits: int
    shared_bits: int
    coded_bits: int
    formula_bits: float
    code_and_table_bits: int

    @property
    def kept(self) -> float:
        """Weights kept, 0 to 1."""
        return self.nonzeros / self.weights if self.weights else 1.0

    @property
    def original_bits(self) -> int:
        return FLOAT_BITS * self.weights

    @property
    def rate_pruned(self) -> float:
        """How many times smaller after P than dense float32."""
        return self.original_bits / max(self.pruned_bits, 1)

    @property
    def rate_shared(self) -> float:
        """How many times smaller after P+Q."""
        return self.original_bits / max(self.shared_bits, 1)

    @property
    def rate_coded(self) -> float:
        """How many times smaller on disk, all bytes of the tensor counted."""
        return self.original_bits / max(self.coded_bits, 1)

    @property
    def formula_rate(self) -> float:
        """The rate by the formula of the form over the n stored weights, b = 32: for shared values the paper's
        n b / (n log2 k + k b) (equation 1)."""
        return FLOAT_BITS * self.stored / self.formula_bits if self.formula_bits else 1.0

    @property
    def formula_rate_real(self) -> float:
        """What that formula speaks of, on disk: n b over the bits of codes and table."""
        return FLOAT_BITS * self.stored / self.code_and_table_bits if self.code_and_table_bits else 1.0

    @property
    def size_bytes(self) -> int:
        """On disk."""
        return self.coded_bits // 8

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the fields, and what follows from them."""
        return asdict(self) | {name: getattr(self, name) for name in DERIVED}


@dataclass(frozen=True, kw_only=True)
class CompressionTable:
    """A row for each tensor of the network, and their total; `file_bytes` counts the rest of the file too."""

    rows: tuple[CompressionRow, ...]
    total: CompressionRow
    file_bytes: int

    @property
    def rate_file(self) -> float:
        """Dense float32 bytes over the file's length: the number to quote."""
        return self.total.original_bits / 8 / self.file_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rates included."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "total": self.total.to_dict(),
            "file_bytes": self.file_bytes,
            "rate_file": self.rate_file,
        }


def compression_table(contents: Contents) -> CompressionTable:
    """The paper's columns for every tensor of a file that has been read."""
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in contents.ledger:
        if entry.name in contents.model.tensors and (entry.form or entry.role in OTHER_ROLES):
            sizes[entry.name][entry.role] += entry.size_bytes
    # A tensor that takes no byte of its own, a single 0 say, has no entry.
    rows = tuple(_row(name, describe(tree), tree, sizes[name]) for name, tree in contents.model.tensors.items())
    return CompressionTable(rows=rows, total=_total(rows), file_bytes=contents.file_bytes)


def _row(name: str, form: str, tree: Storage, sizes: dict[str, int]) -> CompressionRow:
    positions = [node.position for node in walk(tree) if isinstance(node, Scatter)]
    streams = [node for node in positions if isinstance(node, Integers)]
    position_bits = sum(_fixed_bits(node) for node in streams)
    index_symbols = sum(node.numel for node in streams)
    placed = [id(node) for node in streams]
    codes_bits, table_bits, stored, k, shared = 0, 0, 0, 0, False
    beside: set[int] = set()
    # A weight that is a sum is stored once, however many codes say it.
    again = {id(node) for one in walk(tree) if isinstance(one, Sum) for part in one.parts[1:] for node in walk(part)}
    for node in walk(tree):
        if id(node) in beside or id(node) in placed:
            continue
        if isinstance(node, Table):
            entries = node.entries.numel
            block = max(entries // max(node.entries.shape[0], 1), 1)
            entry_bits = sum(_leaf_bits(leaf) for leaf in walk(node.entries))
            k += node.entries.shape[0]
            shared = True
            table_bits += entry_bits
            codes_bits += sum(_leaf_bits(leaf) for leaf in walk(node.index))
            stored += 0 if id(node) in again else node.index.numel * block
            beside.update(id(leaf) for leaf in walk(node))
        elif isinstance(node, Affine):
            table_bits += sum(_leaf_bits(leaf) for part in (node.zero, node.step) for leaf in walk(part))
            beside.update(id(leaf) for part in (node.zero, node.step) for leaf in walk(part))
        elif isinstance(node, (Integers, Floats)):
            codes_bits += _leaf_bits(node)
            stored += 0 if id(node) in again else node.numel
    weights = tree.numel
    nonzeros = int(np.count_nonzero(decode(tree)))
    on_disk = {
        "position": 8 * sum(sizes.get(role, 0) for role in POSITION_ROLES),
        "tables": 8 * sum(sizes.get(role, 0) for role in TABLE_ROLES),
        "all": 8 * sum(sizes.values()),
    }
    codes_coded = on_disk["all"] - on_disk["position"] - on_disk["tables"] - 8 * sizes.get("structure", 0)
    gaps_only = len(streams) == 1 and not any(node.bitmask for node in walk(tree) if isinstance(node, Scatter))
    return CompressionRow(
        name=name,
        form=form,
        weights=weights,
        nonzeros=nonzeros,
        stored=stored,
        index_symbols=index_symbols,
        weight_bits=codes_bits / max(stored, 1),
        weight_bits_coded=codes_coded / max(stored, 1),
        index_bits=float(width_for(streams[0].alphabet)) if gaps_only else position_bits / max(stored, 1),
        index_bits_coded=on_disk["position"] / max(stored, 1),
        k=k if shared else 0,
        table_bits=table_bits,
        pruned_bits=FLOAT_BITS * stored + position_bits,
        shared_bits=codes_bits + table_bits + position_bits,
        coded_bits=on_disk["all"],
        formula_bits=_formula_bits(tree, codes_bits + table_bits),
        code_and_table_bits=codes_coded + on_disk["tables"],
    )


def _formula_bits(tree: Storage, otherwise: float) -> float:
    """Of the form that a tree is lifted to, positions left out; at fixed width where it is none's."""
    from tersenet.forms import Sparse, lift  # here alone torch is needed

    form = lift(tree)
    form = form.values if isinstance(form, Sparse) else form
    said = None if form is None else form.formula_bits()
    return otherwise if said is None else said


def _fixed_bits(node: Integers) -> int:
    return node.numel * width_for(node.alphabet)


def _leaf_bits(node: Storage) -> int:
    """Of a leaf at fixed width; of what stands above leaves, none."""
    if isinstance(node, Integers):
        return _fixed_bits(node)
    if isinstance(node, Floats):
        return node.numel * node.values.dtype.itemsize * 8
    return 0


def _total(rows: Iterable[CompressionRow]) -> CompressionRow:
    rows = tuple(rows)

    def total(name: str) -> int:
        return sum(getattr(row, name) for row in rows)

    def mean(name: str, over: tuple[CompressionRow, ...]) -> float:
        """Over stored weights."""
        return float(sum(getattr(row, name) * row.stored for row in over) / max(sum(row.stored for row in over), 1))

    placed = tuple(row for row in rows if row.index_symbols)
    counts = ("weights", "nonzeros", "stored", "index_symbols", "table_bits", "pruned_bits", "shared_bits")
    return CompressionRow(
        name="total",
        form="",
        k=total("k"),
        coded_bits=total("coded_bits"),
        formula_bits=sum(row.formula_bits for row in rows),
        code_and_table_bits=total("code_and_table_bits"),
        weight_bits=mean("weight_bits", rows),
        weight_bits_coded=mean("weight_bits_coded", rows),
        index_bits=mean("index_bits", placed),
        index_bits_coded=mean("index_bits_coded", placed),
        **{name: total(name) for name in counts},
    )
