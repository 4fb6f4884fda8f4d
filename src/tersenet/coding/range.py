"""range: adaptive binary range coding with mixed contexts, no tables (docs/notes/range.md), in the line of LZMA and PAQ."""

import numpy as np

from tersenet.bits import IntStream, dtype_for
from tersenet.coding._native import check_count, core_call
from tersenet.errors import TersenetError

MAX_ALPHABET = 2**16


class Range:
    """Smallest where neighbours, rows or columns are alike and for short streams; the slowest to decode."""

    id = "range"

    def accepts(self, stream: IntStream) -> bool:
        return stream.alphabet <= MAX_ALPHABET

    def encode(self, stream: IntStream) -> bytes:
        _check_alphabet(stream.name, stream.alphabet)
        data: bytes = core_call(stream.name, "range_encode", stream.values, stream.alphabet)
        return data

    def decode(self, data: bytes, *, name: str, alphabet: int, n: int) -> IntStream:
        _check_alphabet(name, alphabet)
        check_count(name, n)
        values: np.ndarray = core_call(name, "range_decode", data, n, alphabet)
        return IntStream.of_decoded(name, values, alphabet)


def _check_alphabet(name: str, alphabet: int) -> None:
    dtype_for(alphabet)
    if alphabet > MAX_ALPHABET:
        raise TersenetError(f"{name}: an alphabet of {alphabet} came; range takes up to 65536: use raw")
