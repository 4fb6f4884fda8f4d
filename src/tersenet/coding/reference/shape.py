"""The shape of a code table: which symbols are used, and a small class for each used one.

Huffman's classes are code lengths, rans's are the bit lengths of frequency weights. Neighbouring
symbols of a quantised weight have similar counts, so a class is coded by its rank among the
possible ones, nearest to the previous class first.

READ FIRST
  1. `room` knows which classes are possible next (low..high) and when the table is complete.
     Writer and reader ask it the same questions, so nothing after the last used symbol is stored.
  2. A rank is written in unary (k = 0) or with its lowest bit apart (k = 1); the last rank that
     is possible has no stop bit, and a class without alternative takes no bit.
"""

from collections.abc import Iterator
from typing import Protocol

from tersenet.bits import BitReader, BitWriter
from tersenet.errors import TersenetError

ONE, DENSE, RUNS, FLAGS = range(4)
"""Modes: a single symbol; symbols 0, 1, 2...; alternating runs of unused and used; a flag for each."""


class Room(Protocol):
    low: int
    high: int
    done: bool

    def take(self, cls: int) -> None: ...


class KraftRoom:
    """Code lengths of at most `limit` whose 2**-length sum to exactly 1."""

    def __init__(self, limit: int) -> None:
        self.high, self._left = limit, 1 << limit
        self._update()

    def _update(self) -> None:
        self.done = self._left == 0
        self.low = max(1, self.high + 1 - self._left.bit_length())

    def take(self, cls: int) -> None:
        self._left -= 1 << self.high - cls
        self._update()


class CountRoom:
    """`used` symbols with any class from 0 to `high`."""

    def __init__(self, used: int, high: int) -> None:
        self.low, self.high, self._left = 0, high, used
        self.done = used == 0

    def take(self, cls: int) -> None:
        self._left -= 1
        self.done = self._left == 0


class Ranker:
    """Orders the possible classes: the previous one, then alternately one step further on each side.

    `direction` is the sign of the last change; that side comes first. At the start the previous
    class is the highest, as the rare symbols at either end of a bell have the longest codes.
    """

    def __init__(self, high: int) -> None:
        self.previous, self.direction = high, -1

    def order(self, low: int, high: int) -> Iterator[int]:
        at = min(max(self.previous, low), high)
        yield at
        for step in range(1, high - low + 1):
            for side in (self.direction, -self.direction):
                if low <= at + side * step <= high:
                    yield at + side * step

    def took(self, cls: int, low: int, high: int) -> None:
        at = min(max(self.previous, low), high)
        if cls != at:
            self.direction = 1 if cls > at else -1
        self.previous = cls


def _put_rank(out: BitWriter, rank: int, ranks: int, k: int) -> None:
    last = ranks - 1 >> k
    if ranks > 1:
        out.put(rank & k, k)
        out.put_unary(rank >> k, rank >> k < last)


def _get_rank(bits: BitReader, ranks: int, k: int) -> int:
    if ranks == 1:
        return 0
    low = bits.get(k)
    rank = bits.get_unary(ranks - 1 >> k) << k | low
    if rank >= ranks:
        raise TersenetError(f"class rank {rank} came; {ranks} are possible")
    return rank


def put_shape(out: BitWriter, classes: dict[int, int], room: Room, mode: int, k: int) -> None:
    """`classes` maps used symbols to classes; they fill the room exactly."""
    ranker = Ranker(room.high)
    symbol = 0
    if mode == RUNS:
        out.put(0 in classes, 1)
    while not room.done:
        used = symbol in classes
        if mode == RUNS and (symbol == 0 or used != (symbol - 1 in classes)):
            end = symbol + 1
            while (end in classes) == used and end <= max(classes):
                end += 1
            out.put_gamma(end - symbol)
        if mode == FLAGS:
            out.put(used, 1)
        if used:
            order = list(ranker.order(room.low, room.high))
            _put_rank(out, order.index(classes[symbol]), len(order), k)
            ranker.took(classes[symbol], room.low, room.high)
            room.take(classes[symbol])
        symbol += 1


def get_shape(bits: BitReader, alphabet: int, room: Room, mode: int, k: int) -> dict[int, int]:
    ranker = Ranker(room.high)
    classes: dict[int, int] = {}
    run, used = 0, mode == DENSE or (mode == RUNS and not bits.get(1))
    symbol = 0
    while not room.done:
        if symbol == alphabet:
            raise TersenetError(f"the code table is not complete after all {alphabet} symbols")
        if mode == RUNS and run == 0:
            used = not used
            run = bits.get_gamma(17)
            if run > alphabet - symbol:
                raise TersenetError(f"a run of {run} symbols at {symbol} leaves the alphabet of {alphabet}")
        elif mode == FLAGS:
            used = bool(bits.get(1))
        run -= 1
        if used:
            order = list(ranker.order(room.low, room.high))
            cls = order[_get_rank(bits, len(order), k)]
            ranker.took(cls, room.low, room.high)
            room.take(cls)
            classes[symbol] = cls
        symbol += 1
    if mode == RUNS and run:
        raise TersenetError(f"the code table is complete {run} symbols before its last run ends")
    return classes


def smallest_shape(
    classes: dict[int, int], make_room: "type[KraftRoom] | type[CountRoom]", *room: int
) -> tuple[int, int, BitWriter]:
    """(mode, k, bits) of the spelling with the fewest bits; the first one of equals."""
    best = None
    dense = len(classes) == max(classes) + 1
    for mode in (DENSE, RUNS, FLAGS):
        for k in (0, 1):
            if mode == DENSE and not dense:
                continue
            out = BitWriter()
            put_shape(out, classes, make_room(*room), mode, k)
            if best is None or out.size_bits < best[2].size_bits:
                best = mode, k, out
    assert best is not None
    return best
