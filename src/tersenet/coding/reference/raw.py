"""raw in numpy: see tersenet.coding.raw for the layout."""

import numpy as np

from tersenet.bits import dtype_for, width_for
from tersenet.errors import TersenetError


def encode(values: np.ndarray, alphabet: int) -> bytes:
    width = width_for(alphabet)
    bits = values[:, None].astype(np.uint64) >> np.arange(width, dtype=np.uint64) & np.uint64(1)
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()


def decode(data: bytes, *, alphabet: int, n: int) -> np.ndarray:
    width = width_for(alphabet)
    if len(data) != n * width + 7 >> 3:
        raise TersenetError(f"{len(data)} bytes came; {n} values of {width} bits take {n * width + 7 >> 3}")
    if width == 0:
        return np.zeros(n, dtype_for(alphabet))
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if bits[n * width :].any():
        raise TersenetError("padding after the last value is not zero")
    rows = bits[: n * width].reshape(n, width).astype(np.uint64)
    values = (rows << np.arange(width, dtype=np.uint64)).sum(1, dtype=np.uint64)
    if n and int(values.max()) >= alphabet:
        raise TersenetError(f"a value of {int(values.max())} came; expected below {alphabet}")
    typed: np.ndarray = values.astype(dtype_for(alphabet))
    return typed
