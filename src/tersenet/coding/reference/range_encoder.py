"""What the encoder of range chooses, in plain Python: rows, a trellis, and the head whose code is shortest.

Decoders accept any choice (docs/notes/range.md).
"""

from dataclasses import replace

import numpy as np

from tersenet.coding.reference import trellis
from tersenet.coding.reference.range import (
    MAX_PERIOD,
    MIN_ROWS,
    ONE,
    ORDERED,
    TREE,
    Head,
    encode_as,
    head_bytes,
    magnitudes,
    tables,
)

TRIAL = 4096
MAX_SEARCH = 2**24
CENTRES = 4
PATH_USED, SHORTEST_PATH, LONGEST_PATH = 48, 8, 2**16
MAX_REFINE, LEAST_REFINE, MOST_REFINE = 2**16, 32, 2**13


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
        return head_bytes(Head(ONE, centre), alphabet)
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
