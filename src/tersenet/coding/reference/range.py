"""range in plain Python; docs/notes/range.md is its byte layout.

READ FIRST
  1. A value is a few yes-or-no decisions (`_value`); the model predicts each, then learns what came.
  2. Encoder and decoder run the same `_walk`, so they stay in step. No table is sent.
  3. Between decisions 2**24 <= range < 2**32, and a probability is 1 to 65,535 of 65,536.
  4. The last bytes name the shortest byte string all of whose extensions lie in the range, so that no encoding
     is the beginning of another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from tersenet.bits import ByteReader, ByteWriter, dtype_for, width_for
from tersenet.coding.reference import trellis
from tersenet.errors import TersenetError

MAX_STRETCH = 2816
FIRST_WEIGHT = 12000
MAX_WEIGHT = 2**20
SLOW, FAST = 1023, 255
LIMITS = (SLOW, SLOW, FAST, FAST, FAST, FAST)
LEVELS, MEAN_LEVELS, SIDES = 12, 40, 3
BOTTOM = 2**24
MAX_PERIOD = 64
MIN_ROWS = 8
DECISION_LOG2 = 16
ODD_NODE = 17
ONE, TREE, ORDERED = 0, 1, 2

Decide = Callable[[int, int, int, int], int]
Bit = Callable[[int, int], int]


class Tables(NamedTuple):
    """squash   stretch + MAX_STRETCH -> probability of 65,536
    stretch  top 12 bits of a probability -> logarithm of its odds, a unit being log(257 / 256)
    rate     how often a counter moved -> how far it moves next, of 65,536
    level, mean_level   logarithms of a magnitude, and of a running mean of them in 1/16
    """

    squash: list[int]
    stretch: list[int]
    rate: list[int]
    level: list[int]
    mean_level: list[int]


@cache
def tables() -> Tables:
    squash = [0] * (2 * MAX_STRETCH + 1)
    odds = one = 2**30
    for x in range(MAX_STRETCH + 1):
        squash[MAX_STRETCH + x] = (odds << 16) // (odds + one)
        squash[MAX_STRETCH - x] = 65536 - squash[MAX_STRETCH + x]
        odds = odds * 257 >> 8
    stretch, x = [], -MAX_STRETCH
    for p in range(4096):
        while x < MAX_STRETCH and squash[MAX_STRETCH + x + 1] <= 16 * p + 8:
            x += 1
        stretch.append(x)
    rate = [2**17 // (2 * used + 3) for used in range(SLOW + 1)]
    level = [min(LEVELS - 1, steps(m, 1)) for m in range(256)]
    mean_level = [min(MEAN_LEVELS - 1, steps(m, 2)) for m in range(4096)]
    return Tables(squash, stretch, rate, level, mean_level)


def steps(m: int, bits: int) -> int:
    """A logarithm in 2**bits steps an octave; below 2**bits the number itself."""
    drop = m.bit_length() - 1 - bits
    return m if drop <= 0 else (drop << bits) + (m >> drop)


@dataclass(frozen=True)
class Head:
    """What a payload says about itself before the coded values.

    mode          ONE symbol, TREE of the value's bits, or ORDERED: side, class and mantissa of the distance to centre
    differences   what is coded is v[i] - v[i - 1] + alphabet // 2, modulo the alphabet
    rate          weights move by error * stretch / 2**rate
    centre        the value that the first decision is about
    period, row   values so far apart are alike; 1 and 0 for none
    states, run   values minus the centre go through a trellis of 2**states states, anew after `run` of them; 0 for none
    """

    mode: int
    centre: int
    differences: bool = False
    rate: int = 15
    period: int = 1
    row: int = 0
    states: int = 0
    run: int = 0


def magnitudes(head: Head, alphabet: int) -> Callable[[int], int]:
    scale = max(0, width_for(alphabet) - 9)
    return lambda value: min(abs(value - head.centre) >> scale, 255)


class _Model:
    """Six counters by what surrounds a value, mixed by weights; see docs/notes/range.md."""

    def __init__(self, head: Head, alphabet: int) -> None:
        self.tables = tables()
        self.head = head
        self.magnitude = magnitudes(head, alphabet)
        self.counters: dict[tuple[int, int, int], list[int]] = {}
        self.weights: dict[int, list[int]] = {}
        self.columns = [0] * head.row
        self.row_mean = self.local_mean = self.phase = self.column = self.rows = 0
        self.column_rate = 1

    def begin(self, before: int, second: int, in_period: int, above: int) -> None:
        """The two values before, the one a period before, the one a row before; the centre where there is none."""

        def level(value: int) -> int:
            return self.tables.level[self.magnitude(value)]

        def side(value: int) -> int:
            return (value > self.head.centre) + 1 - (value < self.head.centre)

        mean_level = self.tables.mean_level
        row, local = mean_level[self.row_mean >> 4], mean_level[self.local_mean >> 4]
        column = mean_level[self.columns[self.column] >> 4] if self.columns else 0
        self.context = (
            0,
            (level(before) * LEVELS + level(second)) * SIDES + side(before),
            column * SIDES + side(above),
            row * (MEAN_LEVELS // 4) + column // 4,
            local * self.head.period + self.phase,
            (level(above) * LEVELS + level(in_period)) * SIDES + side(in_period),
        )

    def predict(self, full: int, node: int, group: int) -> int:
        counters, stretch = self.counters, self.tables.stretch
        asked = []
        for view, context in enumerate(self.context):
            key = view, context, node if view else full
            counter = counters.get(key)
            if counter is None:
                counter = counters[key] = [2**15, 0]
            asked.append(counter)
        self.asked = asked
        self.stretches = [stretch[counter[0] >> 4] for counter in asked]
        self.mix = self.weights.setdefault(group, [FIRST_WEIGHT] * 6)
        x = sum(map(int.__mul__, self.mix, self.stretches)) >> 16
        self.p = self.tables.squash[max(-MAX_STRETCH, min(MAX_STRETCH, x)) + MAX_STRETCH]
        return self.p

    def update(self, bit: int) -> None:
        error = (bit << 16) - self.p
        rates, mix, rate = self.tables.rate, self.mix, self.head.rate
        half = 1 << rate - 1
        for view, counter in enumerate(self.asked):
            weight = mix[view] + (self.stretches[view] * error + half >> rate)
            mix[view] = max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))
            p, used = counter
            if bit:
                p += (65535 - p) * rates[used] >> 16
            else:
                p -= p * rates[used] >> 16
            counter[0] = p
            if used < LIMITS[view]:
                counter[1] = used + 1

    def end(self, value: int) -> None:
        m = self.magnitude(value) << 8
        self.row_mean += (m >> 5) - (self.row_mean >> 5)
        self.local_mean += (m >> 2) - (self.local_mean >> 2)
        self.phase = (self.phase + 1) % self.head.period
        if not self.columns:
            return
        mean = self.columns[self.column]
        self.columns[self.column] = mean - (mean >> self.column_rate) + (m >> self.column_rate)
        self.column += 1
        if self.column == self.head.row:
            self.column, self.rows = 0, self.rows + 1
            self.column_rate = min(4, (self.rows + 1).bit_length())


def _value(head: Head, alphabet: int, width: int, value: int, odd: int, decide: Decide) -> int:
    """The decisions of one value, in order. `decide(bit, full, node, group)` codes the bit, or reads one, and returns it.

    odd   parity of the state of a trellis
    """

    def number(distance: int) -> int:
        return distance + odd >> 1 if head.states else distance

    centre = head.centre
    first = ODD_NODE if odd else 0
    if not decide(int(value != centre), first, first, first):
        return centre
    if head.mode == TREE:
        node = 1
        for depth in range(width):
            bit = value >> width - 1 - depth & 1
            node = node << 1 | decide(bit, node, node if depth < 5 else 32 + depth, 1 + depth)
        node -= 1 << width
        if node == centre or node >= alphabet:
            raise TersenetError(f"the value {node} is spelled where no encoder spells it")
        return node
    most_below, most_above = number(centre), number(alphabet - 1 - centre)
    if not most_below and not most_above:
        raise TersenetError("a value came that is not the centre, where no other can be")
    below = int(most_below > 0 and (most_above == 0 or bool(decide(int(value < centre), 1, 1, 1))))
    most = most_below if below else most_above
    far = number(abs(value - centre))
    cls = 0
    while 2 << cls <= most:
        node = 2 + 16 * below + cls
        if not decide(int(far >= 2 << cls), node, node, 2 + cls):
            break
        cls += 1
    found, few = 1, min(cls, 7)
    for depth in range(cls):
        left = cls - 1 - depth
        bit = 0
        if (2 * found + 1) << left <= most:
            node = 34 + few if depth == 0 else 42 + 2 * few + (found & 1) if depth == 1 else 56 + min(depth, 7)
            full = 34 + (below << width) + (1 << cls) + found - 1
            bit = decide(far >> left & 1, full, node, 18 + 8 * min(depth, 4) + few)
        found = found << 1 | bit
    if head.states:
        found = 2 * found - odd
    return centre - found if below else centre + found


def _walk(head: Head, alphabet: int, coded: list[int], n: int, bit: Bit, *, read: bool) -> None:
    """Runs the model over n coded values; with `read` they are appended to `coded`."""
    model, width = _Model(head, alphabet), width_for(alphabet)

    def decide(want: int, full: int, node: int, group: int) -> int:
        got = bit(want, model.predict(full, node, group))
        model.update(got)
        return got

    before = second = head.centre
    state = 0
    for i in range(n):
        if head.run and i % head.run == 0:
            state = 0
        in_period = coded[i - head.period] if i >= head.period else head.centre
        above = coded[i - head.row] if head.row and i >= head.row else head.centre
        model.begin(before, second, in_period, above)
        second, before = before, _value(head, alphabet, width, 0 if read else coded[i], state & 1, decide)
        state = trellis.after(head.states, state, before, head.centre)
        if read:
            coded.append(before)
        model.end(before)


class RangeWriter:
    """`low` is the low end of the range below the bytes that are out; bit 32 of it is a carry into them."""

    def __init__(self) -> None:
        self.out, self.low, self.range = bytearray(), 0, 2**32 - 1

    def bit(self, bit: int, p: int) -> int:
        part = (self.range >> 16) * p
        if bit:
            self.range = part
        else:
            self.low += part
            self.range -= part
        while self.range < BOTTOM:
            self._shift()
            self.range <<= 8
        return bit

    def _shift(self) -> None:
        at = len(self.out)
        while self.low >> 32 and at:
            at -= 1
            self.out[at] = (self.out[at] + 1) % 256
            if self.out[at]:
                break
        self.out.append(self.low >> 24 & 255)
        self.low = self.low << 8 & 0xFFFFFFFF

    def finish(self) -> bytes:
        """One byte more if its extensions fit into the range, else two."""
        first = -(-self.low // BOTTOM) * BOTTOM
        kept = 1 if first + BOTTOM <= self.low + self.range else 2
        self.low = first if kept == 1 else -(-self.low // 2**16) * 2**16
        for _ in range(kept):
            self._shift()
        return bytes(self.out)


class RangeReader:
    """`code` is the last four bytes, minus the low end of the range."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4
        self.code, self.range = int.from_bytes((data + bytes(4))[:4], "big"), 2**32 - 1
        if len(data) < 1:
            raise TersenetError("the data ends before its values do")
        if self.code >= self.range:
            raise TersenetError("the code begins outside its range")

    def bit(self, _: int, p: int) -> int:
        part = (self.range >> 16) * p
        bit = int(self.code < part)
        if bit:
            self.range = part
        else:
            self.code -= part
            self.range -= part
        while self.range < BOTTOM:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.at += 1
            if self.at > len(self.data) + 3:
                raise TersenetError("the data ends before its values do")
            self.code, self.range = self.code << 8 | byte, self.range << 8
        return bit

    def expect_end(self) -> None:
        window = int.from_bytes((self.data + bytes(4))[self.at - 4 : self.at], "big")
        low = window - self.code
        to_first, to_second = -low % BOTTOM, -low % 2**16
        one = to_first + BOTTOM <= self.range
        if self.at - len(self.data) != (3 if one else 2) or self.code != (to_first if one else to_second):
            raise TersenetError("the data does not end as its encoder would have ended it; it is damaged")


def head_bytes(head: Head, alphabet: int) -> bytes:
    rows = head.period > 1 or head.row > 0
    out = ByteWriter()
    through = head.states > 0
    out.u8(head.mode | head.differences << 2 | rows << 3 | (head.rate - 13 if head.mode else 0) << 4 | through << 6)
    out.bytes(head.centre.to_bytes(dtype_for(alphabet).itemsize, "little"))
    if rows:
        out.varint(head.period)
        out.varint(head.row)
    if through:
        out.u8(head.states)
        out.varint(head.run)
    return out.getvalue()


def encode_as(head: Head, values: list[int], alphabet: int) -> bytes:
    """The bytes of the values with this head, whatever `encode` would choose."""
    if head.differences:
        half = alphabet >> 1
        values = [(v - last + half) % alphabet for v, last in zip(values, [0, *values[:-1]], strict=True)]
    out = RangeWriter()
    _walk(head, alphabet, values, len(values), out.bit, read=False)
    return head_bytes(head, alphabet) + out.finish()


def read_head(data: bytes, alphabet: int, n: int) -> tuple[Head, int]:
    """The head and where the code begins."""
    reader = ByteReader(data)
    flags = reader.u8()
    mode = flags & 3
    through = flags >> 6 & 1
    if mode == 3 or flags > 127 or (mode == ONE and flags) or (through and (mode != ORDERED or flags >> 2 & 1)):
        raise TersenetError(f"flags of {flags} came, which no encoder writes")
    centre = int.from_bytes(reader.bytes(dtype_for(alphabet).itemsize), "little")
    if centre >= alphabet:
        raise TersenetError(f"symbol {centre} came; expected below {alphabet}")
    head = Head(mode, centre, bool(flags >> 2 & 1), 13 + (flags >> 4 & 3))
    if flags >> 3 & 1:
        head = replace(head, period=reader.varint(), row=reader.varint())
        row, period = head.row, head.period
        if not 1 <= period <= MAX_PERIOD or row > n // MIN_ROWS or (period, row) == (1, 0):
            raise TersenetError(f"rows of {row} and a period of {period} came for {n} values")
    if through:
        head = replace(head, states=reader.u8(), run=reader.varint())
        if not trellis.FEWEST <= head.states <= trellis.MOST or head.run < 1 or n % head.run:
            raise TersenetError(f"a trellis of 2^{head.states} states in runs of {head.run} came for {n} values")
    return head, reader.offset


def decode(data: bytes, *, alphabet: int, n: int) -> np.ndarray:
    dtype = dtype_for(alphabet)
    if n == 0:
        if data:
            raise TersenetError(f"{len(data)} bytes came for no values; expected none")
        return np.zeros(0, dtype)
    head, start = read_head(data, alphabet, n)
    if head.mode == ONE:
        if len(data) > start:
            raise TersenetError(f"{len(data) - start} bytes are left over; expected none")
        return np.full(n, head.centre, dtype)
    if n > 8 * (len(data) - start) << DECISION_LOG2:
        raise TersenetError(f"{len(data) - start} bytes cannot hold {n} values")
    coded: list[int] = []
    code = RangeReader(data[start:])
    _walk(head, alphabet, coded, n, code.bit, read=True)
    code.expect_end()
    values = np.array(coded, np.int64)
    if head.differences:
        values = np.cumsum(values - (alphabet >> 1)) % alphabet
    return values.astype(dtype)
