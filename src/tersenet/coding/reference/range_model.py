"""What range believes before each decision, in plain Python (docs/notes/range.md): counters of six views, mixed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from tersenet.bits import width_for

MAX_STRETCH = 2816
FIRST_WEIGHT = 12000
MAX_WEIGHT = 2**20
SLOW, FAST = 1023, 255
LIMITS = (SLOW, SLOW, FAST, FAST, FAST, FAST)
LEVELS, MEAN_LEVELS, SIDES = 12, 40, 3
ONE, TREE, ORDERED = 0, 1, 2


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


class Model:
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
