"""raw: every value in ceil(log2 alphabet) bits, lowest bit first, packed without gaps."""

import numpy as np

from tersenet.bits import IntStream, dtype_for, width_for
from tersenet.coding._native import check_count, core_call


class Raw:
    """Bit i of value v is bit v * width + i of the data; bit b of the data is bit b % 8 of byte b // 8."""

    id = "raw"

    def accepts(self, stream: IntStream) -> bool:
        return True

    def encode(self, stream: IntStream) -> bytes:
        data: bytes = core_call(stream.name, "raw_encode", stream.values, width_for(stream.alphabet))
        return data

    def decode(self, data: bytes, *, name: str, alphabet: int, n: int) -> IntStream:
        dtype = dtype_for(alphabet)
        check_count(name, n)
        width = width_for(alphabet)
        values: np.ndarray = core_call(name, "raw_decode", data, n, width, dtype.itemsize)
        return IntStream(name=name, values=values, alphabet=alphabet)
