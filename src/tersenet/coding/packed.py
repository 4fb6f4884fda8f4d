"""Bytes that say how a network is stored, to fewer: predicted from the bytes before them, range coded (docs/notes/packed.md)."""

from __future__ import annotations

import numpy as np

from tersenet.coding._native import check_count, core_call


def pack(data: bytes) -> bytes:
    """The packed bytes; none for none. Their number is not among them."""
    packed: bytes = core_call("packing", "pack_bytes", np.frombuffer(data, np.uint8))
    return packed


def unpack(data: bytes | memoryview, n: int, *, name: str) -> bytes:
    """The n bytes that were packed. Refuses bytes that `pack` does not give, and an n that they cannot hold.

    The caller has compared n with what it may allocate; beside them come at most 10 MiB.
    """
    check_count(name, n)
    unpacked: bytes = core_call(name, "unpack_bytes", np.frombuffer(data, np.uint8), n)
    return unpacked
