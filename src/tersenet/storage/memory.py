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

NODE_BYTES = 1024  # a node as objects of Python, measured at 0.6 to 1.0 KB
WORK_PER_BYTE = 16  # a tree may pass over its memory limit this often: more is a file made to waste time


class Budget:
    """A limit on the bytes that reading and decoding may hold; charged before each allocation."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
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
        if self.work_bytes > self.max_bytes * WORK_PER_BYTE:
            raise TersenetError(
                f"{what} brings the work to {self.work_bytes:,} bytes written, above {WORK_PER_BYTE} times the limit "
                f"of {self.max_bytes:,}; pass a larger max_bytes if the file is trusted"
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
    return result_bytes(node) + _beside(node)


def _beside(node: Storage) -> int:
    """The most that decoding holds beside the result."""
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
        return max([_beside(node.parts[0])] + [working_bytes(part) for part in node.parts[1:]])
    if isinstance(node, (Concat, Permute)):
        return max(working_bytes(child) for child in children(node))
    assert isinstance(node, (Reshape, Transform))
    return _beside(node.source)
