"""Storage bytes to dense arrays in the C++ core: the same bits as `decode`, without the tree in between."""

from __future__ import annotations

import numpy as np

import tersenet._core as _core
from tersenet.errors import TersenetError

OUT_OF_MEMORY = "the tensors are within the limit, but this machine has no memory left for them"
Buffer = bytes | bytearray | memoryview


def decode_bytes(data: Buffer, max_bytes: int) -> np.ndarray:
    """The array of one tree as `storage.write` gives it; float32, or an unsigned type for int trees.

    max_bytes   what decoding may hold at once, the result included
    """
    try:
        array: np.ndarray = _core.decode_tensor(_as_array(data), _clamped(max_bytes))
    except ValueError as error:
        raise TersenetError(str(error)) from None
    except MemoryError:
        raise TersenetError(OUT_OF_MEMORY) from None
    return array


def decode_weights(
    section: Buffer,
    names: list[str],
    *,
    payload: Buffer | None = None,
    decoded_bytes: int,
    max_bytes: int,
    meant_bytes: int,
    threads: int = 2,
) -> list[np.ndarray]:
    """The arrays of a file's weights section, one for each name; see spec/format.md section 4.

    payload         what lies apart from the section, in a file of version 2
    decoded_bytes   what the header declares: four bytes for each element
    max_bytes       what decoding may hold at once beside the results
    meant_bytes     the size from which the limit on work follows, see Budget
    """
    try:
        arrays: list[np.ndarray] = _core.decode_weights(
            _as_array(section),
            None if payload is None else _as_array(payload),
            names,
            decoded_bytes,
            _clamped(max_bytes),
            _clamped(meant_bytes),
            threads,
        )
    except ValueError as error:
        raise TersenetError(str(error)) from None
    except MemoryError:
        raise TersenetError(OUT_OF_MEMORY) from None
    return arrays


def _as_array(data: Buffer) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _clamped(max_bytes: int) -> int:
    return min(max(max_bytes, 0), 2**63)
