"""A file straight to dense arrays: the checks of file.py, then C++ from bytes to numbers, no trees kept."""

from __future__ import annotations

import os

import numpy as np

from tersenet.container.file import default_limit, graph_of, working_limit
from tersenet.container.io_safe import read_file
from tersenet.container.sections import GRAPH, PAYLOAD, SMALL_BYTES, WEIGHTS, split
from tersenet.errors import TersenetError
from tersenet.storage.fast import decode_weights

# numpy has no bfloat16: its values are exact in float32.
ARRAY_DTYPES = {"bfloat16": "float32"}


def read_dense(
    path: str | os.PathLike[str], *, max_bytes: int | None = None, threads: int = 2
) -> dict[str, np.ndarray]:
    """Every tensor of a file by name, in file order, in the dtype that its graph declares; bfloat16 as float32.

    max_bytes   the most that the tensors may take; a file that declares more is refused before it is decoded.
                With the file and all that decoding needs, at most 1.25 times the tensors come on top, and 1 MiB.
    threads     decode so many tensors at once, fewer where the limit has no room for what each needs beside it
    """
    return decode_dense(read_file(path), name=os.fspath(path), max_bytes=max_bytes, threads=threads)


def decode_dense(
    data: bytes, *, name: str = "file", max_bytes: int | None = None, threads: int = 2
) -> dict[str, np.ndarray]:
    """See `read_dense`; the bytes are here already."""
    try:
        return _decode(data, default_limit(len(data)) if max_bytes is None else max_bytes, threads)
    except TersenetError as error:
        raise TersenetError(f"{name}: {error}") from error


def _decode(data: bytes, max_bytes: int, threads: int) -> dict[str, np.ndarray]:
    found = split(data, max_bytes)
    sections, decoded_bytes = found.by_kind, found.decoded_bytes
    graph = graph_of(sections[GRAPH], max_bytes)
    try:
        arrays = decode_weights(
            sections[WEIGHTS],
            list(graph.parameters),
            payload=sections.get(PAYLOAD),
            decoded_bytes=decoded_bytes,
            # With the file and the results at most max_bytes + 1.25 decoded_bytes.
            max_bytes=working_limit(decoded_bytes, max_bytes + decoded_bytes // 4 - len(data) - found.unpacked_bytes),
            meant_bytes=decoded_bytes + SMALL_BYTES,
            threads=threads,
        )
        tensors = {}
        widened = 0
        for position, (tensor, dtype) in enumerate(graph.parameters.items()):
            array, arrays[position] = arrays[position], None  # type: ignore[call-overload]
            wanted = np.dtype(ARRAY_DTYPES.get(dtype, dtype))
            if (array.dtype.kind == "f") != ("float" in dtype):
                raise TersenetError(f"tensor '{tensor}' is declared {dtype} but stored as {array.dtype}")
            widened += max(wanted.itemsize - 4, 0) * array.size
            if decoded_bytes + widened > max_bytes:
                raise TersenetError(f"tensor '{tensor}' as {dtype} brings the total above the limit of {max_bytes:,}")
            tensors[tensor] = array if array.dtype == wanted else as_dtype(array, wanted)
        return tensors
    except TersenetError as error:
        raise TersenetError(f"section weights: {error}") from error


def as_dtype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Stored numbers as the dtype that the graph declares; float32 to float16 keeps what float16 had."""
    with np.errstate(all="ignore"):
        return array.astype(dtype)
