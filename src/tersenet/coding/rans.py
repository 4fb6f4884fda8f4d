"""rans: interleaved range ANS with integer tables (docs/notes/rans.md), Duda 2013, arXiv:1311.2540."""

import numpy as np

from tersenet.bits import IntStream, dtype_for
from tersenet.coding._native import check_count, core_call
from tersenet.errors import TersenetError

MAX_ALPHABET = 2**16
MAX_USED = 2**15
"""Different values in one stream: the largest frequency table has 2**15 slots, one for each at least."""


class Rans:
    """At entropy, also below one bit a value; slower to decode than huffman."""

    id = "rans"

    def accepts(self, stream: IntStream) -> bool:
        if stream.alphabet <= MAX_USED:
            return True
        if stream.alphabet > MAX_ALPHABET:
            return False
        return int(np.count_nonzero(np.bincount(stream.values))) <= MAX_USED

    def encode(self, stream: IntStream) -> bytes:
        _check_alphabet(stream.name, stream.alphabet)
        data: bytes = core_call(stream.name, "rans_encode", stream.values, stream.alphabet)
        return data

    def decode(self, data: bytes, *, name: str, alphabet: int, n: int) -> IntStream:
        _check_alphabet(name, alphabet)
        check_count(name, n)
        values: np.ndarray = core_call(name, "rans_decode", data, n, alphabet)
        return IntStream.of_decoded(name, values, alphabet)


def _check_alphabet(name: str, alphabet: int) -> None:
    dtype_for(alphabet)
    if alphabet > MAX_ALPHABET:
        raise TersenetError(f"{name}: an alphabet of {alphabet} came; rans takes up to 65536: use raw")
