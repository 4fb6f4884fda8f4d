"""packed in plain Python; docs/notes/packed.md says what it computes.

READ FIRST
  1. A byte is eight decisions, its highest bit first. Each view of the bytes before has a counter for each decision; their
     guesses are mixed by weights, one set for each number of views that have met this context before.
  2. Both sides first go through the primer, for which nothing is sent.
  3. Tables and the code are those of range.
"""

from __future__ import annotations

import tersenet._core as _core
from tersenet.coding.reference.range import Bit, RangeReader, RangeWriter
from tersenet.coding.reference.range_model import FAST, MAX_STRETCH, MAX_WEIGHT, tables
from tersenet.errors import TersenetError

# How far back the bytes of each view lie.
VIEWS = ((), (1,), (1, 2), (1, 2, 3), (2, 3), (2, 3, 4), (1, 3, 4), (4, 5), (5, 6))
RATE = 14
FIRST_WEIGHT = 20000
LEAST_SLOTS, MOST_SLOTS = 12, 18
MASK = 2**32 - 1
PRIMER: bytes = _core.byte_primer


class Model:
    """For n bytes behind the primer."""

    def __init__(self, n: int) -> None:
        slots = (16 * (n + len(PRIMER))).bit_length()
        self.shift = 32 - max(LEAST_SLOTS, min(MOST_SLOTS, slots))
        self.counters: dict[tuple[int, int], list[int]] = {}
        self.weights = [[FIRST_WEIGHT] * len(VIEWS) for _ in range(len(VIEWS) + 1)]
        self.before = bytearray(8)

    def counter(self, view: int, hashed: int, node: int) -> list[int]:
        slot = (hashed + node * 0x9E3779B1) * 0x85EBCA6B & MASK
        return self.counters.setdefault((view, slot >> self.shift), [2**15, 0])

    def byte(self, want: int, bit: Bit) -> int:
        """The next byte, by `bit`, which codes a bit with its probability of a one, or reads it."""
        hashes = []
        for view, back in enumerate(VIEWS):
            hashed = view + 1
            for distance in back:
                hashed = (hashed + self.before[-distance] + 1) * 0x2545F491 & MASK
            hashes.append(hashed)
        known = sum(self.counter(view, hashed, 1)[1] > 0 for view, hashed in enumerate(hashes))
        node = 1
        for left in range(7, -1, -1):
            node = node << 1 | self._decide(want >> left & 1, bit, hashes, node, self.weights[known])
        self.before = self.before[1:] + bytes([node & 255])
        return node & 255

    def _decide(self, want: int, bit: Bit, hashes: list[int], node: int, mix: list[int]) -> int:
        found = tables()
        asked = [self.counter(view, hashed, node) for view, hashed in enumerate(hashes)]
        stretches = [found.stretch[counter[0] >> 4] for counter in asked]
        x = sum(map(int.__mul__, mix, stretches)) >> 16
        p = found.squash[max(-MAX_STRETCH, min(MAX_STRETCH, x)) + MAX_STRETCH]
        got = bit(want, p)
        error = (got << 16) - p
        for view, counter in enumerate(asked):
            weight = mix[view] + (stretches[view] * error + (1 << RATE - 1) >> RATE)
            mix[view] = max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))
            step = (65535 - counter[0] if got else counter[0]) * found.rate[counter[1]] >> 16
            counter[0] += step if got else -step
            counter[1] = min(counter[1] + 1, FAST)
        return got


def _primed(n: int) -> Model:
    model = Model(n)
    for byte in PRIMER:
        model.byte(byte, lambda want, p: want)
    return model


def pack(data: bytes) -> bytes:
    """See `tersenet.coding.packed.pack`."""
    if not data:
        return b""
    model, writer = _primed(len(data)), RangeWriter()
    for byte in data:
        model.byte(byte, writer.bit)
    return writer.finish()


def unpack(data: bytes, n: int) -> bytes:
    """See `tersenet.coding.packed.unpack`."""
    if n == 0:
        if data:
            raise TersenetError(f"{len(data)} bytes came for no bytes; expected none")
        return b""
    if n > len(data) << 16:
        raise TersenetError(f"{len(data)} bytes cannot hold {n} bytes")
    model, reader = _primed(n), RangeReader(data)
    found = bytes(model.byte(0, reader.bit) for _ in range(n))
    reader.expect_end()
    return found
