"""Where the bytes of a .terse file go."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tersenet.container import Contents, read
from tersenet.errors import TersenetError


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Some bytes of a file.

    name    the tensor they belong to, or a part of the file: header, graph, provenance
    role    what they are in it: index, table, gaps, values, structure, ...
    form    how the tensor is stored, for example sparse(codebook); empty for parts of the file
    coder   raw, huffman, rans, range, zlib; empty where nothing is coded
    bytes   how many
    """

    name: str
    role: str
    form: str
    coder: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All bytes of a file: the rows add up to `bytes`, which is its length."""

    rows: tuple[LedgerRow, ...]
    bytes: int

    def __post_init__(self) -> None:
        total = sum(row.bytes for row in self.rows)
        if total != self.bytes:
            raise TersenetError(f"the ledger's rows add up to {total} bytes, the file has {self.bytes}")

    def __iter__(self) -> Iterator[LedgerRow]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under keys that stay."""
        return {"bytes": self.bytes, "ledger": [vars(row).copy() for row in self.rows]}


def size(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Ledger:
    """The byte ledger of a file, which is read and checked whole; `max_bytes` limits what it decodes to."""
    return ledger(read(path, max_bytes=max_bytes), Path(path).stat().st_size)


def ledger(contents: Contents, file_bytes: int | None = None) -> Ledger:
    """The ledger of a file that is already read."""
    rows = tuple(
        LedgerRow(name=row.name, role=row.role, form=row.form, coder=row.coder, bytes=row.size_bytes)
        for row in contents.ledger
    )
    return Ledger(rows=rows, bytes=contents.file_bytes if file_bytes is None else file_bytes)
