"""rans: interleaved range ANS with integer tables (docs/notes/rans.md), Duda 2013, arXiv:1311.2540."""

import numpy as np

from tersenet.bits import IntStream
from tersenet.coding._native import NativeCoder

MAX_USED = 2**15
"""Different values in one stream: the largest frequency table has 2**15 slots, one for each at least."""


class Rans(NativeCoder):
    """At entropy, also below one bit a value; slower to decode than huffman."""

    id = "rans"

    def accepts(self, stream: IntStream) -> bool:
        if stream.alphabet <= MAX_USED:
            return True
        return super().accepts(stream) and int(np.count_nonzero(np.bincount(stream.values))) <= MAX_USED
