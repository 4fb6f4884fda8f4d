"""Rounding with error feedback to a path through a trellis: finer than one grid for the same bits.

READ FIRST
  1. Which integers a weight may take depends on those of the rows before it in its column (see `cpp/tersenet/trellis.h`): in
     an even state the even ones, in an odd one the odd ones and 0. Bits are spent on a grid of two steps, errors come near
     to those of a grid of one (Marcellin and Fischer 1990, IEEE Trans. Commun. 38(1)).
  2. Errors of a column's rows do not depend on each other, so that a column's best path is found exactly (Viterbi); feedback
     then carries its errors to the columns still open, as after any other decision.
  3. A path begins anew with each column, so the order in which columns are decided need not be told.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

import tersenet._core as _core
from tersenet.methods._feedback import BLOCK, BORROWED, UNSEEN, Factor, classes_of, feed_back, many_classes

Parities = UInt8[np.ndarray, "columns rows"]


@dataclass(frozen=True)
class PathLengths:
    """Bits of the k-th magnitude that a state allows, under counts of some; the sign of one that is not 0 is a bit.

    bits     by parity of the state, class of the row, class of the column, and k
    """

    bits: Float64[np.ndarray, "2 row_classes column_classes magnitudes"]
    row: Int64[np.ndarray, " rows"]
    column: Int64[np.ndarray, " columns"]

    @classmethod
    def none(cls, columns: int, rows: int) -> PathLengths:
        """All alike: what is nearest is taken."""
        return cls(np.zeros((2, 1, 1, 1)), np.zeros(rows, np.int64), np.zeros(columns, np.int64))

    @classmethod
    def of(cls, levels: Int64[np.ndarray, "columns rows"], odd: Parities) -> PathLengths:
        """Lengths for these levels and ones further out, by classes as those of `CodeLengths`."""
        size = np.abs(levels)
        k = (size + odd) >> 1
        many, span = many_classes(levels.size), int(k.max(initial=0)) + 2
        row, column = classes_of(size.mean(0), many), classes_of(size.mean(1), many)
        place = ((odd * many + row) * many + column[:, None]) * span + k
        counts = (
            np.bincount(place.reshape(-1), minlength=2 * many * many * span).reshape(2, many, many, span).astype(float)
        )
        # What a class has seen little of it takes from the whole.
        total = counts.sum((1, 2), keepdims=True) + UNSEEN
        counts += BORROWED * total / total.sum(3, keepdims=True) if many > 1 else UNSEEN
        bits = np.log2(counts.sum(3, keepdims=True)) - np.log2(counts)
        bits[..., 1:] += 1
        return cls(bits, row, column)


def trellis_round(
    weight: Float64[np.ndarray, "rows columns"],
    factor: Factor,
    *,
    states: int,
    bit_price: float = 0.0,
    block: int = BLOCK,
) -> Int64[np.ndarray, "rows columns"]:
    """The integers of `feedback_round`, for weights in units of their steps, each column a path.

    states      of the trellis, a power of 2 from 4 to 256
    bit_price   in squares of twice a step: as far apart are the integers that a state allows
    """
    turned = np.ascontiguousarray(weight[:, factor.order].T)
    levels, odd = np.empty(turned.shape, np.int64), np.empty(turned.shape, np.uint8)
    price = 4 * bit_price
    lengths = PathLengths.none(*turned.shape)
    for _ in range(3 if price > 0 else 0):
        lengths = PathLengths.of(*_paths(turned, 0, factor.cost, price, lengths, states))

    def decide(open_: np.ndarray, column: int) -> np.ndarray:
        nonlocal lengths
        if price > 0 and column and column % block == 0:
            guess, along = _paths(open_[:, column:].T, column, factor.cost, price, lengths, states)
            lengths = PathLengths.of(np.concatenate([levels[:column], guess]), np.concatenate([odd[:column], along]))
        here = slice(column, column + 1)
        levels[here], odd[here] = _paths(open_[:, here].T, column, factor.cost, price, lengths, states)
        return levels[column].astype(float)

    feed_back(weight, factor, decide, block=block)
    back = np.empty(weight.shape, np.int64)
    back[:, factor.order] = levels.T
    return back


def _paths(
    turned: Float64[np.ndarray, "columns rows"],
    first: int,
    cost: Float64[np.ndarray, " all_columns"],
    price: float,
    lengths: PathLengths,
    states: int,
) -> tuple[Int64[np.ndarray, "columns rows"], Parities]:
    """The cheapest path of each column, of which `first` is the number of the first, and the parities it goes through."""
    levels, odd = np.empty(turned.shape, np.int64), np.empty(turned.shape, np.uint8)
    here = slice(first, first + len(turned))
    _core.trellis_round(
        np.ascontiguousarray(turned), cost[here], price, lengths.bits, lengths.row, lengths.column[here],
        states.bit_length() - 1, levels, odd,
    )  # fmt: skip
    return levels, odd
