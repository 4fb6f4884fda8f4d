"""IntStream: a named run of unsigned integers below a known alphabet."""

from dataclasses import dataclass

import numpy as np

from tersenet.errors import TersenetError

MAX_ALPHABET = 2**32
"""The largest value then fits a uint32, the widest type that the file wing stores integers in."""


def width_for(alphabet: int) -> int:
    """Bits that hold every value of the alphabet: ceil(log2 alphabet), so 0 for an alphabet of one."""
    return (alphabet - 1).bit_length()


def dtype_for(alphabet: int) -> np.dtype:
    """The smallest of uint8, uint16, uint32 that holds alphabet - 1."""
    if not 1 <= alphabet <= MAX_ALPHABET:
        raise TersenetError(f"an alphabet of {alphabet} came; expected 1 to 2**32")
    return np.dtype(np.uint8 if alphabet <= 2**8 else np.uint16 if alphabet <= 2**16 else np.uint32)


@dataclass(frozen=True, kw_only=True, eq=False)
class IntStream:
    """Integers in [0, alphabet) that must survive the file exactly.

    name      what the stream is, for the sentences of errors and the rows of the ledger
    values    1-D; whatever integers come, they are held as dtype_for(alphabet), contiguous
    alphabet  1 to 2**32
    """

    name: str
    values: np.ndarray
    alphabet: int

    def __post_init__(self) -> None:
        try:
            dtype = dtype_for(self.alphabet)
        except TersenetError as err:
            raise TersenetError(f"{self.name}: {err}") from None
        values = np.asarray(self.values)
        if values.ndim != 1:
            raise TersenetError(f"{self.name}: values have {values.ndim} dimensions; expected 1: ravel them")
        if values.dtype.kind not in "iu" and values.size:
            raise TersenetError(f"{self.name}: values are {values.dtype}; expected integers")
        # A dtype whose every value is below the alphabet needs no look at the values.
        fits = values.dtype == dtype and self.alphabet == 2 ** (8 * dtype.itemsize)
        if values.size and not fits:
            low = 0 if values.dtype.kind == "u" else int(values.min())
            high = int(values.max())
            if low < 0 or high >= self.alphabet:
                raise TersenetError(
                    f"{self.name}: values reach {low if low < 0 else high}; expected [0, {self.alphabet})"
                )
        object.__setattr__(self, "values", np.ascontiguousarray(values, dtype=dtype))

    @classmethod
    def of_decoded(cls, name: str, values: np.ndarray, alphabet: int) -> "IntStream":
        """A stream around values that a decoder took from a table of symbols below the alphabet.

        The table was checked when it was read, so the values are not looked at again: that look
        would take a quarter of the time of Huffman decoding.
        """
        if values.dtype != dtype_for(alphabet) or values.ndim != 1:
            raise TersenetError(f"{name}: {values.dtype} values came; expected 1-D {dtype_for(alphabet)}")
        stream = object.__new__(cls)
        for field, value in (("name", name), ("values", values), ("alphabet", alphabet)):
            object.__setattr__(stream, field, value)
        return stream

    def __len__(self) -> int:
        return int(self.values.size)
