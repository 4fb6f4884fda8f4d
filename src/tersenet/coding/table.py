"""The coders by id: a table of `module:Class`, read without importing what it names."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from tersenet.bits import IntStream

CODERS: dict[str, str] = {
    "raw": "tersenet.coding.raw:Raw",
    "huffman": "tersenet.coding.huffman:Huffman",
    "rans": "tersenet.coding.rans:Rans",
    "range": "tersenet.coding.range:Range",
}

CODES: dict[str, int] = {"raw": 0, "huffman": 1, "rans": 2, "range": 3}
"""The number of each coder in a file, forever."""


class Coder(Protocol):
    """What every coder does; `decode` takes bytes from anyone: n values in range or a TersenetError."""

    id: str

    def accepts(self, stream: IntStream) -> bool:
        """Whether `encode` can take the stream: a coder with tables has a largest alphabet."""
        ...

    def encode(self, stream: IntStream) -> bytes: ...

    def decode(self, data: bytes, *, name: str, alphabet: int, n: int) -> IntStream: ...


@cache
def get_coder(coder: str) -> Coder:
    """The coder with this id; always the same instance, as coders hold no state."""
    if coder not in CODERS:
        raise TersenetError(f"coder {coder!r} is unknown; this build knows {', '.join(CODERS)}")
    module, name = CODERS[coder].split(":")
    made: Coder = getattr(import_module(module), name)()
    return made


def coder_code(coder: str) -> int:
    """The number that stands for the coder in a file."""
    if coder not in CODES:
        raise TersenetError(f"coder {coder!r} is unknown; this build knows {', '.join(CODES)}")
    return CODES[coder]


def coder_id(code: int) -> str:
    """The id of the coder that a file calls `code`."""
    for coder, known in CODES.items():
        if known == code:
            return coder
    known_codes = ", ".join(f"{known} ({coder})" for coder, known in CODES.items())
    raise TersenetError(f"coder number {code} is unknown; this build knows {known_codes}")


def encode_smallest(stream: IntStream, coder: str) -> tuple[str, bytes]:
    """(id, bytes) of the coder asked for, or of raw where that is not larger or the coder cannot take it.

    So a tiny or incompressible stream never grows beyond its packed bits.
    """
    plain = (stream.alphabet - 1).bit_length() * len(stream) + 7 >> 3
    chosen = get_coder(coder)
    if chosen.id != "raw" and plain > 0 and chosen.accepts(stream):
        data = chosen.encode(stream)
        if len(data) < plain:
            return chosen.id, data
    return "raw", get_coder("raw").encode(stream)
