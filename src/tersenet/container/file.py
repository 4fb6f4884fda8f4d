"""The .terse file: what a model is as sections, and back; sections.py has the bytes around them."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tersenet.bits import ByteReader, ByteWriter
from tersenet.coding import CODERS
from tersenet.coding.packed import pack
from tersenet.container.io_safe import atomic_write, read_file
from tersenet.container.model import Model
from tersenet.container.sections import (
    GRAPH,
    PACKED,
    PAYLOAD,
    PROVENANCE,
    SECTIONS,
    SMALL_BYTES,
    WEIGHTS,
    check_graph_bytes,
    joined,
    split,
)
from tersenet.errors import TersenetError
from tersenet.ir import Graph
from tersenet.ir import read as read_graph
from tersenet.ir import write as write_graph
from tersenet.storage import Budget, Storage, describe, size_bytes
from tersenet.storage import read as read_storage
from tersenet.storage import write as write_storage
from tersenet.storage import write_to as write_storage_to

MAX_PROVENANCE_BYTES = 1 << 20
GIB = 1 << 30
# What streams and arrays on the way to a tensor may take: a few times the whole, and room for small tables.
INTERMEDIATE = 8
PACKING = "range"  # the coder whose files are packed whole: it is chosen for the fewest bytes


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
    sections = {GRAPH: write_graph(model.graph), **_weights(model, coder)}
    if model.provenance is not None:
        sections[PROVENANCE] = _pack_provenance(model.provenance)
    return joined(sections, model.decoded_bytes)


def _weights(model: Model, coder: str) -> dict[int, bytes]:
    if coder == PACKING:
        structure, payload = _structure_and_payload(model.tensors.values(), coder)
        return {WEIGHTS: structure, PAYLOAD: payload}
    weights = ByteWriter()
    for tensor in model.tensors.values():
        data, _ = write_storage(tensor, coder)
        weights.varint(len(data))
        weights.bytes(data)
    return {WEIGHTS: weights.getvalue()}


def _structure_and_payload(tensors: Iterable[Storage], coder: str) -> tuple[bytes, bytes]:
    payload = ByteWriter()
    structure = ByteWriter(apart=payload)
    for tensor in tensors:
        write_storage_to(structure, tensor, coder)
    return structure.getvalue(), payload.getvalue()


def tensor_bytes(tensor: Storage, coder: str) -> int:
    """What a tensor takes in a file; in a packed one about that, as its structure is packed with all others'."""
    if coder != PACKING:
        return size_bytes(tensor, coder)
    structure, payload = _structure_and_payload([tensor], coder)
    return len(payload) + len(pack(structure))


def with_graph(data: bytes, change: Callable[[Graph], Graph], *, max_bytes: int | None = None) -> bytes:
    """The bytes of a file with another graph over the same tensors, which are not decoded.

    The checks are those of `decode`, short of the tensors' own; what `change` refuses is refused.
    """
    limit = default_limit(len(data)) if max_bytes is None else max_bytes
    found = split(data, limit)
    graph = graph_of(found.by_kind[GRAPH], limit)
    changed = change(graph)
    if changed == graph:
        return data
    return joined({**found.by_kind, GRAPH: write_graph(changed)}, found.decoded_bytes)


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
    found = split(data, max_bytes)
    sections, decoded_bytes = found.by_kind, found.decoded_bytes
    ledger = [Row("header", "checksums", "", "", found.header_bytes)]
    if found.version == PACKED:
        ledger.append(Row("graph", "op list and structure", "", "packed", found.packed_bytes))
    else:
        ledger.append(Row("graph", "op list", "", "", len(sections[GRAPH])))
    graph = graph_of(sections[GRAPH], max_bytes)
    provenance = None
    if PROVENANCE in sections:
        try:
            provenance = _read_provenance(sections[PROVENANCE])
        except TersenetError as error:
            raise TersenetError(f"section provenance: {error}") from error
    try:
        # With the file itself at most max_bytes + 1.25 decoded_bytes.
        room = working_limit(decoded_bytes, max_bytes + decoded_bytes * 5 // 4 - len(data) - found.unpacked_bytes)
        budget = Budget(room, decoded_bytes + SMALL_BYTES)
        tensors, rows = _read_weights(sections, list(graph.parameters), decoded_bytes, budget)
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
    check_graph_bytes(len(section), max_bytes)
    try:
        return read_graph(section)
    except TersenetError as error:
        raise TersenetError(f"section graph: {error}") from error


def _read_weights(
    sections: Mapping[int, memoryview], names: list[str], decoded_bytes: int, budget: Budget
) -> tuple[dict[str, Storage], list[Row]]:
    payload = ByteReader(sections[PAYLOAD], what="payload") if PAYLOAD in sections else None
    reader = ByteReader(sections[WEIGHTS], apart=payload)
    tensors: dict[str, Storage] = {}
    rows: list[Row] = []
    total = 0
    for name in names:
        start = reader.offset
        if payload is None:
            inner = ByteReader(reader.bytes(reader.varint()), what=name)
            tensor, parts = read_storage(inner, name, budget)
            inner.expect_end()
        else:
            tensor, parts = read_storage(reader, name, budget)
        tensors[name] = tensor
        total += 4 * tensor.numel
        if total > decoded_bytes:
            raise TersenetError(f"tensor '{name}' brings the decoded size above the {decoded_bytes:,} bytes declared")
        form = describe(tensor)
        rows += [Row(name, part.role, form, part.coder, part.size_bytes) for part in parts if part.size_bytes]
        if payload is None:
            structure = reader.offset - start - sum(part.size_bytes for part in parts)
            rows.append(Row(name, "structure", form, "", structure))
    reader.expect_end()
    if payload is not None:
        payload.expect_end()
    if total != decoded_bytes:
        raise TersenetError(f"the tensors decode to {total:,} bytes; the header declares {decoded_bytes:,}")
    return tensors, rows


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
