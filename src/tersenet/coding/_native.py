"""Calls into the compiled core, with its refusals turned into errors that name the stream."""

from typing import Any, ClassVar

import numpy as np

import tersenet._core as _core
from tersenet.bits import IntStream, dtype_for
from tersenet.errors import TersenetError

MAX_ALPHABET = 2**16

MAX_COUNT = 2**40
"""Values in one stream. It keeps every product of a count and a width far inside 64 bits."""


def check_count(name: str, n: int) -> None:
    """Refuse a count that no file of ours can hold; the memory limit itself is the caller's."""
    if not 0 <= n <= MAX_COUNT:
        raise TersenetError(f"{name}: {n} values are declared; expected 0 to 2**40")


def core_call(name: str, function: str, *arguments: Any) -> Any:
    """`_core.function(*arguments)`; its refusals and a lack of memory become a TersenetError."""
    try:
        return getattr(_core, function)(*arguments)
    except MemoryError as err:
        raise TersenetError(f"{name}: no memory for its values ({err}); check the declared count") from None
    except ValueError as err:
        raise TersenetError(f"{name}: {err}") from None


class NativeCoder:
    """A coder whose work the core does, in `<id>_encode` and `<id>_decode`; alphabets up to MAX_ALPHABET."""

    id: ClassVar[str]

    def accepts(self, stream: IntStream) -> bool:
        return stream.alphabet <= MAX_ALPHABET

    def encode(self, stream: IntStream) -> bytes:
        self._check_alphabet(stream.name, stream.alphabet)
        data: bytes = core_call(stream.name, f"{self.id}_encode", stream.values, stream.alphabet)
        return data

    def decode(self, data: bytes, *, name: str, alphabet: int, n: int) -> IntStream:
        self._check_alphabet(name, alphabet)
        check_count(name, n)
        values: np.ndarray = core_call(name, f"{self.id}_decode", data, n, alphabet)
        return IntStream.of_decoded(name, values, alphabet)

    def _check_alphabet(self, name: str, alphabet: int) -> None:
        dtype_for(alphabet)
        if alphabet > MAX_ALPHABET:
            raise TersenetError(
                f"{name}: an alphabet of {alphabet} came; {self.id} takes up to {MAX_ALPHABET}: use raw"
            )
