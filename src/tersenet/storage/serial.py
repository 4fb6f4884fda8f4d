"""Storage trees to bytes and back, exactly as spec/format.md section 4 lays them out.

The first byte of a node is its tag (low four bits) and a variant (high four bits). Reading charges every array to
a Budget before it is made, so that a file can not ask for more memory than its reader allows. Where payloads lie apart
(section 2, version 2), the bytes of more than one number are such, and leaves are counted by their payloads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tersenet.bits import ByteReader, ByteWriter, IntStream, dtype_for
from tersenet.coding import coder_code, coder_id, encode_smallest, get_coder
from tersenet.errors import TersenetError
from tersenet.storage.grammar import (
    MAX_DIMS,
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
    checked_numel,
)
from tersenet.storage.memory import NODE_BYTES, Budget, beside_bytes

INTEGERS, FLOATS, AFFINE, TABLE, SCATTER, SUM, CONCAT, RESHAPE, PERMUTE, TRANSFORM = range(10)
MAX_DEPTH = 32


@dataclass(frozen=True)
class Part:
    """One leaf of a written tree: what it is for, its coder, and its bytes with its own header."""

    role: str
    coder: str
    size_bytes: int


def write(node: Storage, coder: str) -> tuple[bytes, list[Part]]:
    """The bytes of a tree with its integer streams under `coder` (or raw where that is smaller), and its leaves."""
    out = ByteWriter()
    parts = write_to(out, node, coder)
    return out.getvalue(), parts


def write_to(out: ByteWriter, node: Storage, coder: str) -> list[Part]:
    """Append a tree to `out`; see `write`. What lies apart is not in the leaves' sizes."""
    parts: list[Part] = []
    _write(node, coder, out, parts, "values", MAX_DEPTH)
    return parts


def read(reader: ByteReader, name: str, budget: Budget) -> tuple[Storage, list[Part]]:
    """The tree that starts at the reader, and its leaves. Raises TersenetError on anything out of range.

    The budget pays for what the tree holds, and must have room for what decoding it will need beside its result.
    """
    parts: list[Part] = []
    node = _read(reader, name, budget, parts, "values", MAX_DEPTH)
    budget.peak(beside_bytes(node), f"{name}: decoding to shape {node.shape}")
    return node, parts


def size_bytes(node: Storage, coder: str) -> int:
    """How many bytes a tree takes in a file."""
    return len(write(node, coder)[0])


def _write(node: Storage, coder: str, out: ByteWriter, parts: list[Part], role: str, depth: int) -> None:
    if depth == 0:
        raise TersenetError(f"storage nested deeper than {MAX_DEPTH} cannot be written")

    def tag(kind: int, variant: int = 0) -> None:
        out.u8(kind | variant << 4)

    def below(child: Storage, role: str) -> None:
        _write(child, coder, out, parts, role, depth - 1)

    start = len(out)
    if isinstance(node, Integers):
        used, data = encode_smallest(node.stream, coder)
        tag(INTEGERS, coder_code(used))
        out.varint(node.alphabet - 1)
        out.varint(len(node.stream.values))
        out.varint(len(data))
        _put(out, data, len(node.stream.values))
        parts.append(Part(role, used, len(out) - start))
    elif isinstance(node, Floats):
        tag(FLOATS, (node.values.dtype == np.float16) | node.planes << 1)
        little = np.ascontiguousarray(node.values, dtype=node.values.dtype.newbyteorder("<"))
        out.varint(len(little))
        if node.planes:
            for plane in little.view(np.uint8).reshape(-1, little.dtype.itemsize).T:
                below(Integers(IntStream(name=role, values=plane, alphabet=256)), role)
        else:
            _put(out, little.tobytes(), len(little))
            parts.append(Part(role, "raw", len(out) - start))
    elif isinstance(node, Affine):
        tag(AFFINE)
        below(node.levels, "levels")
        below(node.zero, "zero")
        below(node.step, "step")
    elif isinstance(node, Table):
        tag(TABLE)
        below(node.entries, "table")
        below(node.index, "index")
    elif isinstance(node, Scatter):
        tag(SCATTER, node.bitmask)
        out.varint(node.size)
        below(node.position, "bitmask" if node.bitmask else "gaps")
        below(node.values, role)
    elif isinstance(node, Sum):
        tag(SUM)
        out.varint(len(node.parts))
        for part in node.parts:
            below(part, role)
    elif isinstance(node, Concat):
        tag(CONCAT, node.axis)
        out.varint(len(node.parts))
        for part in node.parts:
            below(part, role)
    elif isinstance(node, Reshape):
        tag(RESHAPE, len(node.shape))
        for size in node.shape:
            out.varint(size)
        below(node.source, role)
    elif isinstance(node, Permute):
        tag(PERMUTE, len(node.axes))
        for axis in node.axes:
            out.u8(axis)
        below(node.source, role)
    elif isinstance(node, Transform):
        tag(TRANSFORM, node.axes)
        below(node.source, role)
    else:
        raise TypeError(f"not a storage node: {type(node).__name__}")


def _put(out: ByteWriter, data: bytes, n: int) -> None:
    """The bytes of n numbers: one number is a field like others."""
    (out.payload if n > 1 else out.bytes)(data)


def _take(reader: ByteReader, size: int, n: int) -> bytes:
    return (reader.payload if n > 1 else reader.bytes)(size)


def _counted(reader: ByteReader, start: int, payload_bytes: int, n: int) -> int:
    """Bytes of a leaf that begins at `start`: where payloads lie apart, its payload's."""
    if reader.apart is reader:
        return reader.offset - start
    return payload_bytes if n > 1 else 0


def _read(reader: ByteReader, name: str, budget: Budget, parts: list[Part], role: str, depth: int) -> Storage:
    start = reader.offset
    if depth == 0:
        raise TersenetError(f"{name}: storage nested deeper than {MAX_DEPTH} at byte {start}")

    def below(role: str) -> Storage:
        return _read(reader, name, budget, parts, role, depth - 1)

    def variant_below(limit: int) -> None:
        if variant >= limit:
            raise TersenetError(f"{name}: unknown variant {variant} of storage node {kind} at byte {start}")

    kind, variant = _nibbles(reader.u8())
    budget.charge(NODE_BYTES, f"{name}: a storage node at byte {start}")
    node: Storage
    if kind == INTEGERS:
        return _read_integers(reader, name, budget, parts, role, variant, start)
    if kind == FLOATS:
        variant_below(4)
        node = Floats(_read_floats(reader, name, budget, parts, role, variant, start), bool(variant & 2))
        if not variant & 2:
            parts.append(Part(role, "raw", _counted(reader, start, node.values.nbytes, len(node.values))))
        return node
    if kind == AFFINE:
        variant_below(1)
        levels, zero, step = below("levels"), below("zero"), below("step")
        node = Affine(levels, zero, step)
    elif kind == TABLE:
        variant_below(1)
        entries, index = below("table"), below("index")
        node = Table(entries, index)
    elif kind == SCATTER:
        variant_below(2)
        size = reader.varint()
        checked_numel((size,))
        position = below("bitmask" if variant else "gaps")
        node = Scatter(below(role), position, size, bool(variant))
    elif kind == SUM:
        variant_below(1)
        node = Sum(_read_parts(reader, below, role))
    elif kind == CONCAT:
        variant_below(MAX_DIMS)
        node = Concat(_read_parts(reader, below, role), variant)
    elif kind == RESHAPE:
        variant_below(MAX_DIMS + 1)
        shape = tuple(reader.varint() for _ in range(variant))
        checked_numel(shape)
        return Reshape(below(role), shape)  # no work: the same array under another shape
    elif kind == PERMUTE:
        variant_below(MAX_DIMS + 1)
        axes = tuple(reader.u8() for _ in range(variant))
        node = Permute(below(role), axes)
    elif kind == TRANSFORM:
        variant_below(3)
        node = Transform(below(role), variant)
    else:
        raise TersenetError(f"{name}: unknown storage node {kind} at byte {start}")
    budget.work(node.numel * 4, f"{name}: an array of shape {node.shape} at byte {start}")
    return node


def _nibbles(byte: int) -> tuple[int, int]:
    return byte & 15, byte >> 4


def _read_parts(reader: ByteReader, below, role: str) -> tuple[Storage, ...]:  # type: ignore[no-untyped-def]
    count = reader.varint()
    if count > reader.remaining:
        raise TersenetError(f"{count} parts declared at byte {reader.offset}, where {reader.remaining} bytes are left")
    return tuple(below(role) for _ in range(count))


def _read_integers(
    reader: ByteReader, name: str, budget: Budget, parts: list[Part], role: str, variant: int, start: int
) -> Integers:
    coder = coder_id(variant)
    alphabet = reader.varint() + 1
    if alphabet > 2**32:
        raise TersenetError(f"{name}: an alphabet of {alphabet} at byte {start}; at most 2**32")
    n = reader.varint()
    checked_numel((n,))
    size = n * dtype_for(alphabet).itemsize
    budget.charge(size, f"{name}: a stream of {n:,} integers at byte {start}")
    budget.work(size, f"{name}: a stream of {n:,} integers at byte {start}")
    data = _take(reader, reader.varint(), n)
    stream = get_coder(coder).decode(data, name=f"{name} {role}", alphabet=alphabet, n=n)
    parts.append(Part(role, coder, _counted(reader, start, len(data), n)))
    return Integers(stream)


def _read_floats(
    reader: ByteReader, name: str, budget: Budget, parts: list[Part], role: str, variant: int, start: int
) -> np.ndarray:
    dtype = np.dtype("<f2" if variant & 1 else "<f4")
    n = reader.varint()
    checked_numel((n,))
    budget.charge(n * dtype.itemsize, f"{name}: a table of {n:,} floats at byte {start}")
    budget.work(n * 4, f"{name}: a table of {n:,} floats at byte {start}")
    if not variant & 2:
        return np.frombuffer(_take(reader, n * dtype.itemsize, n), dtype).astype(dtype.newbyteorder("="))
    planes = np.empty((n, dtype.itemsize), np.uint8)
    for k in range(dtype.itemsize):
        plane_start = reader.offset
        kind, coder_variant = _nibbles(reader.u8())
        if kind != INTEGERS:
            raise TersenetError(f"{name}: byte plane {k} of the floats at byte {start} is storage node {kind}")
        plane = _read_integers(reader, name, budget, parts, role, coder_variant, plane_start)
        if plane.alphabet != 256 or plane.shape != (n,):
            raise TersenetError(f"{name}: byte plane {k} at byte {plane_start} is not a stream of {n} bytes")
        planes[:, k] = plane.stream.values
    return planes.view(dtype).reshape(-1).astype(dtype.newbyteorder("="), copy=False)
