"""The closed grammar of how few numbers become many: its nodes, their bytes, their numpy meaning."""

from tersenet.storage.decode import decode, positions
from tersenet.storage.describe import describe
from tersenet.storage.grammar import (
    Affine,
    Concat,
    Floats,
    Integers,
    Permute,
    Reshape,
    Scatter,
    Storage,
    Sum,
    Table,
    Transform,
    children,
    walk,
)
from tersenet.storage.memory import Budget, working_bytes
from tersenet.storage.reorder import reorder
from tersenet.storage.serial import Part, read, size_bytes, write, write_to

__all__ = [
    "Affine",
    "Budget",
    "Concat",
    "Floats",
    "Integers",
    "Part",
    "Permute",
    "Reshape",
    "Scatter",
    "Storage",
    "Sum",
    "Table",
    "Transform",
    "children",
    "decode",
    "describe",
    "positions",
    "read",
    "reorder",
    "size_bytes",
    "walk",
    "working_bytes",
    "write",
    "write_to",
]
