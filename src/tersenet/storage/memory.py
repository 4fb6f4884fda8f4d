"""How much memory decoding a tree takes, known from its declared sizes before anything is allocated."""

from __future__ import annotations

import numpy as np

from tersenet.errors import TersenetError
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
)

NODE_BYTES = 1024  # a node as Python objects; measured: 370 to 600 in 3.11
WORK_PER_BYTE = 32  # decoding may write this often what it is meant to give: more is a file made to waste time


class Budget:
    """A limit on the bytes that reading and decoding may hold; charged before each allocation.

    meant_bytes   what is to be decoded in all, max_bytes if it is not known; the limit on work follows from it
    """

    def __init__(self, max_bytes: int, meant_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.max_work_bytes = WORK_PER_BYTE * (max_bytes if meant_bytes is None else meant_bytes)
        self.used_bytes = 0
        self.work_bytes = 0

    def charge(self, size_bytes: int, what: str) -> None:
        """Bytes that stay."""
        self.used_bytes += size_bytes
        self.peak(0, f"{what} needs {size_bytes:,} bytes and")

    def peak(self, size_bytes: int, what: str) -> None:
        """Bytes that are held for a while on top of those that stay."""
        total = self.used_bytes + size_bytes
        if total > self.max_bytes:
            raise TersenetError(
                f"{what} brings the total to {total:,} bytes, above the limit of {self.max_bytes:,}; "
                "pass a larger max_bytes if the file is trusted"
            )

    def work(self, size_bytes: int, what: str) -> None:
        """Bytes that are written once, whether they stay or not."""
        self.work_bytes += size_bytes
        if self.work_bytes > self.max_work_bytes:
            raise TersenetError(
                f"{what} brings the work to {self.work_bytes:,} bytes written; at most {self.max_work_bytes:,}, "
                f"{WORK_PER_BYTE} times what is to be decoded, are expected of a file that is not made to waste time"
            )


def dtype_of(node: Storage) -> np.dtype:
    """The type that a tree decodes to: float32, or the widest unsigned type among its values."""
    if node.kind == "float":
        return np.dtype(np.float32)
    if isinstance(node, Integers):
        return node.stream.values.dtype
    if isinstance(node, Table):
        return dtype_of(node.entries)
    if isinstance(node, Scatter):
        return dtype_of(node.values)
    return max((dtype_of(child) for child in children(node)), key=lambda dtype: dtype.itemsize)


def result_bytes(node: Storage) -> int:
    """The bytes of the decoded array."""
    return node.numel * dtype_of(node).itemsize


def working_bytes(node: Storage) -> int:
    """The most that decoding a tree holds at once, its result included, as the C++ decoder does it."""
    return result_bytes(node) + beside_bytes(node)


def beside_bytes(node: Storage) -> int:
    """The most that decoding a tree holds beside its result."""
    if isinstance(node, Integers):
        return 0
    if isinstance(node, Floats):
        return node.numel if node.planes else 0
    if isinstance(node, (Affine, Table, Scatter)):
        held = most = 0
        for child in children(node):
            most = max(most, held + working_bytes(child))
            held += result_bytes(child)
        return most
    if isinstance(node, Sum):
        return max([beside_bytes(node.parts[0])] + [working_bytes(part) for part in node.parts[1:]])
    if isinstance(node, (Concat, Permute)):
        return max(working_bytes(child) for child in children(node))
    assert isinstance(node, (Reshape, Transform))
    return beside_bytes(node.source)
