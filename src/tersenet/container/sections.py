"""The bytes around a file's sections: spec/format.md section 2, both versions.

READ FIRST
  1. Nothing is parsed before its checksum has been compared, and the header's own checksum comes first.
  2. The sections cover the file exactly: no gaps, no overlap, no byte after the last one.
  3. The header declares the decoded size; a reader refuses it against its limit before it allocates.
  4. Version 2 packs the graph and the structure of the weights; what is coded already lies apart, as PAYLOAD.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tersenet.bits import ByteReader, ByteWriter
from tersenet.coding.packed import pack, unpack
from tersenet.errors import TersenetError

MAGIC = b"\x89terse"
PLAIN, PACKED = 1, 2
GRAPH, WEIGHTS, PROVENANCE = 1, 2, 3
PAYLOAD = 256  # no kind of version 1, whose kinds are a byte
SECTIONS = {GRAPH: "graph", WEIGHTS: "weights", PROVENANCE: "provenance", PAYLOAD: "payload"}
PREFIX_BYTES = 16  # magic, version, section count, decoded size
ENTRY_BYTES = 12  # kind, length, checksum
CHECKED_FROM = 11  # in version 2: magic, version, checksum
MAX_SECTIONS = 16
GRAPH_COST = 400  # bytes of Python objects for a byte of the graph section; measured: 184, a chain of relu in 3.11
SMALL_BYTES = 1 << 20


@dataclass(frozen=True)
class Sections:
    """A file in its parts.

    version        PLAIN or PACKED
    by_kind        sections; of a packed file as they were before packing, and its PAYLOAD
    decoded_bytes  as the header declares
    header_bytes   of the file: all that is no section
    packed_bytes   of the file: what graph and weights take together, in a packed one
    """

    version: int
    by_kind: dict[int, memoryview]
    decoded_bytes: int
    header_bytes: int
    packed_bytes: int = 0

    @property
    def unpacked_bytes(self) -> int:
        """What graph and weights take in memory beside a packed file; a plain one holds them itself."""
        return len(self.by_kind[GRAPH]) + len(self.by_kind[WEIGHTS]) if self.version == PACKED else 0


def joined(sections: Mapping[int, bytes | memoryview], decoded_bytes: int) -> bytes:
    """A file of these sections: packed if there is a PAYLOAD."""
    return (_joined_packed if PAYLOAD in sections else _joined_plain)(sections, decoded_bytes)


def _joined_plain(sections: Mapping[int, bytes | memoryview], decoded_bytes: int) -> bytes:
    header = ByteWriter()
    header.bytes(MAGIC)
    header.u8(PLAIN)
    header.u8(len(sections))
    header.u64(decoded_bytes)
    for kind, data in sections.items():
        header.u64(kind | len(data) << 8)
        header.u32(zlib.crc32(data))
    header.u32(zlib.crc32(header.getvalue()))
    return header.getvalue() + b"".join(sections.values())


def _joined_packed(sections: Mapping[int, bytes | memoryview], decoded_bytes: int) -> bytes:
    graph, weights, provenance = (bytes(sections.get(kind, b"")) for kind in (GRAPH, WEIGHTS, PROVENANCE))
    packed = pack(graph + weights)
    out = ByteWriter()
    for number in (decoded_bytes // 4, len(graph), len(weights), len(packed), len(provenance)):
        out.varint(number)
    for part in (packed, sections[PAYLOAD], provenance):
        out.bytes(part)
    checked = out.getvalue()
    return MAGIC + bytes([PACKED]) + zlib.crc32(checked).to_bytes(4, "little") + checked


def split(data: bytes, max_bytes: int) -> Sections:
    """The sections of a file, its checksums compared. A declared size above `max_bytes` is refused."""
    if len(data) < PREFIX_BYTES or data[: len(MAGIC)] != MAGIC:
        what = "is cut" if MAGIC.startswith(data[: len(MAGIC)]) else "is damaged, or this is not a .terse file"
        raise TersenetError(
            f"section header {what}: it must begin with {MAGIC!r} and hold {PREFIX_BYTES} bytes or more"
        )
    return (_split_packed if data[len(MAGIC)] == PACKED else _split_plain)(data, max_bytes)


def _split_plain(data: bytes, max_bytes: int) -> Sections:
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
    if version != PLAIN:
        raise TersenetError(
            f"section header: the file has format version {version}; this build reads versions {PLAIN} and {PACKED}"
        )
    decoded_bytes = _within(reader.u64(), max_bytes)
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
    return Sections(PLAIN, sections, decoded_bytes, header_bytes)


def _split_packed(data: bytes, max_bytes: int) -> Sections:
    view = memoryview(data)
    if zlib.crc32(view[CHECKED_FROM:]) != int.from_bytes(view[CHECKED_FROM - 4 : CHECKED_FROM], "little"):
        raise TersenetError("section header is cut or damaged, or what follows it is: the checksum does not match")
    reader = ByteReader(view[CHECKED_FROM:], what="section header")
    elements, graph, weights, packed, provenance = (reader.varint() for _ in range(5))
    decoded_bytes = _within(4 * elements, max_bytes)
    check_graph_bytes(graph, max_bytes)
    # A node takes less than 80 bytes of it and is charged 1 KiB of 8 D + 1 MiB, so no file that can be read has more.
    if weights > decoded_bytes + SMALL_BYTES:
        raise TersenetError(
            f"section weights: a structure of {weights:,} bytes is declared for {decoded_bytes:,} decoded bytes, above the "
            f"limit of {decoded_bytes + SMALL_BYTES:,}"
        )
    if packed + provenance > reader.remaining:
        raise TersenetError(
            f"section header declares {packed:,} packed bytes and {provenance:,} of provenance, "
            f"where {reader.remaining:,} bytes are left"
        )
    start = CHECKED_FROM + reader.offset
    unpacked = memoryview(unpack(view[start : start + packed], graph + weights, name="section graph"))
    end = len(data) - provenance
    by_kind = {GRAPH: unpacked[:graph], WEIGHTS: unpacked[graph:], PAYLOAD: view[start + packed : end]}
    if provenance:
        by_kind[PROVENANCE] = view[end:]
    return Sections(PACKED, by_kind, decoded_bytes, start, packed)


def _within(decoded_bytes: int, max_bytes: int) -> int:
    if decoded_bytes > max_bytes:
        raise TersenetError(
            f"section header declares {decoded_bytes:,} decoded bytes, above the limit of {max_bytes:,}; "
            "pass a larger max_bytes if the file is trusted"
        )
    return decoded_bytes


def check_graph_bytes(size: int, max_bytes: int) -> None:
    """Refuse a graph section of so many bytes if what is made of it can be above the limit."""
    if GRAPH_COST * size > max_bytes + SMALL_BYTES:
        raise TersenetError(
            f"section graph: its {size:,} bytes can need {GRAPH_COST} times as much memory, above the limit of "
            f"{max_bytes:,}; pass a larger max_bytes if the file is trusted"
        )
