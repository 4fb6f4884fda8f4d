"""The .terse file: a header with checksums, then sections. spec/format.md section 2 gives every byte.

READ FIRST
  1. Nothing is parsed before its checksum has been compared, and the header's own checksum comes first.
  2. The sections cover the file exactly: no gaps, no overlap, no byte after the last one.
  3. The header declares the decoded size; a reader refuses it against its limit before it allocates.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tersenet.bits import ByteReader, ByteWriter
from tersenet.coding import CODERS
from tersenet.container.io_safe import atomic_write, read_file
from tersenet.container.model import Model
from tersenet.errors import TersenetError
from tersenet.ir import Graph
from tersenet.ir import read as read_graph
from tersenet.ir import write as write_graph
from tersenet.storage import Budget, Part, Storage, describe
from tersenet.storage import read as read_storage
from tersenet.storage import write as write_storage

MAGIC = b"\x89terse"
VERSION = 1
GRAPH, WEIGHTS, PROVENANCE = 1, 2, 3
SECTIONS = {GRAPH: "graph", WEIGHTS: "weights", PROVENANCE: "provenance"}
PREFIX_BYTES = 16  # magic, version, section count, decoded size
ENTRY_BYTES = 12  # kind, length, checksum
MAX_SECTIONS = 16
MAX_PROVENANCE_BYTES = 1 << 20
GIB = 1 << 30
# What streams and arrays on the way to a tensor may take: a few times the whole, and room for small tables.
INTERMEDIATE = 8
SMALL_BYTES = 1 << 20
GRAPH_COST = 400  # bytes of Python objects for a byte of the graph section; measured: 184, a chain of relu in 3.11


@dataclass(frozen=True)
class Row:
    """One line of the ledger: these bytes of the file, and what they are for."""

    name: str
    role: str
    form: str
    coder: str
    size_bytes: int


@dataclass(frozen=True)
class Contents:
    """A file read back: the model and the ledger, whose rows add up to the file's length."""

    model: Model
    ledger: tuple[Row, ...]
    file_bytes: int


def default_limit(file_bytes: int) -> int:
    """How much a file may decode to unless the caller says otherwise.

    A thousand times its own length, which our best records pass only in files of a few KB, hence the floor of 64 MiB.
    """
    return max(64 << 20, min(16 * GIB, 1000 * file_bytes))


def working_limit(decoded_bytes: int, room_bytes: int) -> int:
    """What streams and intermediate arrays may take, of the room that is left beside the file and the tensors."""
    return max(min(INTERMEDIATE * decoded_bytes, room_bytes), 0) + SMALL_BYTES


def encode(model: Model, coder: str = "huffman") -> bytes:
    """The bytes of a file. Raises TersenetError for an unknown coder."""
    if coder not in CODERS:
        raise TersenetError(f"unknown coder '{coder}'; this build knows {', '.join(CODERS)}")
    weights = ByteWriter()
    for tensor in model.tensors.values():
        data, _ = write_storage(tensor, coder)
        weights.varint(len(data))
        weights.bytes(data)
    sections = {GRAPH: write_graph(model.graph), WEIGHTS: weights.getvalue()}
    if model.provenance is not None:
        sections[PROVENANCE] = _pack_provenance(model.provenance)
    return _joined(sections, model.decoded_bytes)


def with_graph(data: bytes, change: Callable[[Graph], Graph], *, max_bytes: int | None = None) -> bytes:
    """The bytes of a file with another graph over the same tensors, which are not decoded.

    The checks are those of `decode`, short of the tensors' own; what `change` refuses is refused.
    """
    limit = default_limit(len(data)) if max_bytes is None else max_bytes
    sections, decoded_bytes, _ = split(data, limit)
    graph = graph_of(sections[GRAPH], limit)
    changed = change(graph)
    return data if changed == graph else _joined({**sections, GRAPH: write_graph(changed)}, decoded_bytes)


def _joined(sections: Mapping[int, bytes | memoryview], decoded_bytes: int) -> bytes:
    """The header and the sections behind it."""
    header = ByteWriter()
    header.bytes(MAGIC)
    header.u8(VERSION)
    header.u8(len(sections))
    header.u64(decoded_bytes)
    for kind, data in sections.items():
        header.u64(kind | len(data) << 8)
        header.u32(zlib.crc32(data))
    header.u32(zlib.crc32(header.getvalue()))
    return header.getvalue() + b"".join(sections.values())


def decode(data: bytes, *, name: str = "file", max_bytes: int | None = None) -> Contents:
    """A file's model and ledger. Refuses damage, unknown versions, and more memory than `max_bytes`."""
    try:
        return _decode(data, default_limit(len(data)) if max_bytes is None else max_bytes)
    except TersenetError as error:
        raise TersenetError(f"{name}: {error}") from error


def write(path: str | os.PathLike[str], model: Model, coder: str = "huffman") -> None:
    """Write a file that is either there whole or not at all."""
    atomic_write(path, encode(model, coder))


def read(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Contents:
    """Read a file from disk; see `decode`."""
    return decode(read_file(path), name=os.fspath(path), max_bytes=max_bytes)


def _decode(data: bytes, max_bytes: int) -> Contents:
    sections, decoded_bytes, header_bytes = split(data, max_bytes)
    ledger = [Row("header", "checksums", "", "", header_bytes), Row("graph", "op list", "", "", len(sections[GRAPH]))]
    graph = graph_of(sections[GRAPH], max_bytes)
    provenance = None
    if PROVENANCE in sections:
        try:
            provenance = _read_provenance(sections[PROVENANCE])
        except TersenetError as error:
            raise TersenetError(f"section provenance: {error}") from error
    try:
        # With the file itself at most max_bytes + 1.25 decoded_bytes.
        room = working_limit(decoded_bytes, max_bytes + decoded_bytes * 5 // 4 - len(data))
        budget = Budget(room, decoded_bytes + SMALL_BYTES)
        tensors, rows = _read_weights(sections[WEIGHTS], list(graph.parameters), decoded_bytes, budget)
        model = Model(graph=graph, tensors=tensors, provenance=provenance)
    except TersenetError as error:
        raise TersenetError(f"section weights: {error}") from error
    ledger.extend(rows)
    for kind, section in sections.items():
        if kind == PROVENANCE:
            ledger.append(Row("provenance", "json", "", "zlib", len(section)))
        elif kind not in SECTIONS:
            ledger.append(Row(f"section {kind}", "unknown", "", "", len(section)))
    return Contents(model, tuple(ledger), len(data))


def graph_of(section: memoryview, max_bytes: int) -> Graph:
    """The graph of a section whose checksum has been compared."""
    if GRAPH_COST * len(section) > max_bytes + SMALL_BYTES:
        raise TersenetError(
            f"section graph: its {len(section):,} bytes can need {GRAPH_COST} times as much memory, above the limit of "
            f"{max_bytes:,}; pass a larger max_bytes if the file is trusted"
        )
    try:
        return read_graph(section)
    except TersenetError as error:
        raise TersenetError(f"section graph: {error}") from error


def split(data: bytes, max_bytes: int) -> tuple[dict[int, memoryview], int, int]:
    """Sections by kind with their checksums compared, the declared decoded size, the header's length.

    A declared size above `max_bytes` is refused.
    """
    if len(data) < PREFIX_BYTES or data[: len(MAGIC)] != MAGIC:
        what = "is cut" if MAGIC.startswith(data[: len(MAGIC)]) else "is damaged, or this is not a .terse file"
        raise TersenetError(
            f"section header {what}: it must begin with {MAGIC!r} and hold {PREFIX_BYTES} bytes or more"
        )
    reader = ByteReader(data)
    reader.bytes(len(MAGIC))
    version, count = reader.u8(), reader.u8()
    header_bytes = PREFIX_BYTES + ENTRY_BYTES * count + 4
    if count <= MAX_SECTIONS and len(data) < header_bytes:
        raise TersenetError(f"section header is cut: {header_bytes} bytes are needed, {len(data)} are there")
    if count > MAX_SECTIONS or zlib.crc32(data[: header_bytes - 4]) != int.from_bytes(
        data[header_bytes - 4 : header_bytes], "little"
    ):
        raise TersenetError("section header is damaged: its checksum does not match")
    if version != VERSION:
        raise TersenetError(
            f"section header: the file has format version {version}; this build reads version {VERSION}"
        )
    decoded_bytes = reader.u64()
    if decoded_bytes > max_bytes:
        raise TersenetError(
            f"section header declares {decoded_bytes:,} decoded bytes, above the limit of {max_bytes:,}; "
            "pass a larger max_bytes if the file is trusted"
        )
    name = "header"
    sections: dict[int, memoryview] = {}
    view = memoryview(data)  # a slice of it is no copy
    start = header_bytes
    for _ in range(count):
        word, checksum = reader.u64(), reader.u32()
        kind, length = word & 255, word >> 8
        name = SECTIONS.get(kind, f"{kind} (unknown)")
        if kind in sections:
            raise TersenetError(f"section {name} is there twice")
        if start + length > len(data):
            raise TersenetError(
                f"section {name} is cut: {length} bytes from byte {start}, the file ends at {len(data)}"
            )
        section = view[start : start + length]
        if zlib.crc32(section) != checksum:
            raise TersenetError(f"section {name} is damaged: its checksum does not match")
        sections[kind] = section
        start += length
    if start != len(data):
        raise TersenetError(f"section {name} ends at byte {start}, but {len(data) - start} bytes follow it")
    missing = [SECTIONS[kind] for kind in (GRAPH, WEIGHTS) if kind not in sections]
    if missing:
        raise TersenetError(f"section {missing[0]} is missing")
    return sections, decoded_bytes, header_bytes


def _read_weights(
    data: memoryview, names: list[str], decoded_bytes: int, budget: Budget
) -> tuple[dict[str, Storage], list[Row]]:
    reader = ByteReader(data)
    tensors: dict[str, Storage] = {}
    rows: list[Row] = []
    total = 0
    for name in names:
        start = reader.offset
        inner = ByteReader(reader.bytes(reader.varint()), what=name)
        tensor, parts = read_storage(inner, name, budget)
        inner.expect_end()
        tensors[name] = tensor
        total += 4 * tensor.numel
        if total > decoded_bytes:
            raise TersenetError(f"tensor '{name}' brings the decoded size above the {decoded_bytes:,} bytes declared")
        rows.extend(_rows(name, describe(tensor), parts, reader.offset - start))
    reader.expect_end()
    if total != decoded_bytes:
        raise TersenetError(f"the tensors decode to {total:,} bytes; the header declares {decoded_bytes:,}")
    return tensors, rows


def _rows(name: str, form: str, parts: list[Part], size_bytes: int) -> list[Row]:
    rows = [Row(name, part.role, form, part.coder, part.size_bytes) for part in parts]
    return [*rows, Row(name, "structure", form, "", size_bytes - sum(part.size_bytes for part in parts))]


def _pack_provenance(provenance: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(provenance, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TersenetError(f"provenance cannot be written as JSON: {error}") from error
    if len(text) > MAX_PROVENANCE_BYTES:
        raise TersenetError(
            f"provenance takes {len(text):,} bytes as JSON; at most {MAX_PROVENANCE_BYTES:,} can be kept"
        )
    return zlib.compress(text, 9)


def _read_provenance(data: memoryview) -> dict[str, Any]:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MAX_PROVENANCE_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError(f"it does not unpack to at most {MAX_PROVENANCE_BYTES} bytes")
        # Not bytes: json would guess other encodings than UTF-8.
        found = json.loads(text.decode())
    except (zlib.error, ValueError, RecursionError) as error:
        raise TersenetError(f"it is not readable: {error}") from error
    if not isinstance(found, dict):
        raise TersenetError("it is not a record of names and values")
    return found
