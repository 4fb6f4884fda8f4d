"""range in plain Python; docs/notes/range.md is its byte layout.

READ FIRST
  1. A value is a few yes-or-no decisions (`_value`); the model predicts each, then learns what came.
  2. Encoder and decoder run the same `_walk`, so they stay in step. No table is sent.
  3. Between decisions 2**24 <= range < 2**32, and a probability is 1 to 65,535 of 65,536.
  4. The last bytes name the shortest byte string all of whose extensions lie in the range, so that no encoding
     is the beginning of another.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tersenet.bits import ByteReader, ByteWriter, dtype_for, width_for
from tersenet.coding.reference import trellis
from tersenet.coding.reference.range_model import ONE, ORDERED, TREE, Head, Model, magnitudes, tables
from tersenet.errors import TersenetError

BOTTOM = 2**24
MAX_PERIOD = 64
MIN_ROWS = 8
DECISION_LOG2 = 16
TRIAL = 4096
MAX_SEARCH = 2**24
MAX_REFINE, LEAST_REFINE, MOST_REFINE = 2**16, 32, 2**13
CENTRES = 4
PATH_USED, SHORTEST_PATH, LONGEST_PATH = 48, 8, 2**16
ODD_NODE = 17

Decide = Callable[[int, int, int, int], int]
Bit = Callable[[int, int], int]


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
    model, width = Model(head, alphabet), width_for(alphabet)

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


def _head_bytes(head: Head, alphabet: int) -> bytes:
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
    return _head_bytes(head, alphabet) + out.finish()


def find_rows(head: Head, values: np.ndarray, alphabet: int) -> Head:
    """The row, and the period of at most 64, into which dividing the values makes columns differ most.

    A chi-square test of the columns' sums of levels, in sixteenths; a division must be worth half its degrees of freedom
    more than chance, and 25 more.
    """
    n = len(values)
    if n > MAX_SEARCH:
        return head
    magnitude, level = magnitudes(head, alphabet), tables().level
    level_of = np.array([level[magnitude(value)] for value in range(alphabet)])
    levels = level_of[values]
    total, squares = int(levels.sum()), int((levels * levels).sum())
    spread = (n * squares - total * total) // n
    if spread == 0:
        return head
    best_row = best_period = 0
    for row in range(2, n // MIN_ROWS + 1):
        if n % row:
            continue
        between = int((levels.reshape(-1, row).sum(0) ** 2).sum())
        gain = 16 * (row * between - total * total) // spread - (24 * row + 400)
        if gain > best_row:
            best_row, head = gain, replace(head, row=row)
        if row <= MAX_PERIOD and gain > best_period:
            best_period, head = gain, replace(head, period=row)
    return head


def find_trellis(head: Head, values: list[int], counts: np.ndarray) -> Head | None:
    """The head with the trellis that all values are a path through; None if there is none around the commonest values."""
    n = len(values)
    centres = [
        int(value) for value in np.argsort(-counts, kind="stable") if counts[value] and n - counts[value] >= PATH_USED
    ]
    for run in range(SHORTEST_PATH, min(n, LONGEST_PATH) + 1):
        if n % run:
            continue
        for states in range(trellis.FEWEST, trellis.MOST + 1):
            for centre in centres[:CENTRES]:
                if trellis.follows(states, values, run, centre):
                    return replace(head, mode=ORDERED, centre=centre, states=states, run=run)
    return None


def refine(best: Head, shortest: bytes, values: list[int], alphabet: int) -> bytes:
    """Of short streams every head is coded whole: what the first values promise is a few bytes off, and so are sums of
    columns. One field after another: no row, periods that divide the row (or n), rates, the other mode.
    """
    n = len(values)
    if n > MAX_REFINE or not LEAST_REFINE <= len(shortest) <= MOST_REFINE:
        return shortest

    def attempt(head: Head) -> None:
        nonlocal best, shortest
        if head == best:
            return
        made = encode_as(head, values, alphabet)
        if len(made) < len(shortest):
            best, shortest = head, made

    attempt(replace(best, row=0))
    whole = best.row or n
    for period in range(1, MAX_PERIOD + 1):
        if whole % period == 0:
            attempt(replace(best, period=period))
    for rate in range(13, 17):
        attempt(replace(best, rate=rate))
    if not best.states:
        attempt(replace(best, mode=TREE if best.mode == ORDERED else ORDERED))
    return shortest


def encode(values: np.ndarray, alphabet: int) -> bytes:
    """Starts from a tree around the most frequent value, keeps what makes the first values shorter, and refines it."""
    n = len(values)
    if n == 0:
        return b""
    counts = np.bincount(values, minlength=alphabet)
    centre = int(counts.argmax())
    if counts[centre] == n:
        return _head_bytes(Head(ONE, centre), alphabet)
    numbers: list[int] = values.tolist()
    best = in_rows = find_rows(Head(TREE, centre), values, alphabet)
    shortest = encode_as(best, numbers[:TRIAL], alphabet)

    def attempt(head: Head) -> None:
        nonlocal best, shortest
        made = encode_as(head, numbers[:TRIAL], alphabet)
        if len(made) < len(shortest):
            best, shortest = head, made

    attempt(replace(best, mode=ORDERED))
    for mode in (TREE, ORDERED):
        attempt(Head(mode, alphabet >> 1, differences=True))
    along = find_trellis(in_rows, numbers, counts)
    if along is not None:
        attempt(along)
    if n > TRIAL:
        shortest = encode_as(best, numbers, alphabet)
    else:
        for rate in (14, 13):
            attempt(replace(best, rate=rate))
    return refine(best, shortest, numbers, alphabet)


def _read_head(data: bytes, alphabet: int, n: int) -> tuple[Head, int]:
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
    head, start = _read_head(data, alphabet, n)
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
