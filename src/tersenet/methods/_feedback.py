"""Rounding one weight matrix with error feedback: each decision's error is made good by the columns still open.

READ FIRST
  1. W (rows x columns) becomes Q so that tr (W - Q) H (W - Q)^T is small, H = X^T X being what the layer meets. With
     P H^-1 P^T = U^T U (U upper, P the order of the columns) that is the sum over columns of cost_j r_j^2, where
     cost_j = 1 / U_jj^2 and r_j is the error that column j makes when its turn comes (Frantar et al. 2023, GPTQ,
     arXiv:2210.17323, section 3).
  2. So a decision weighs cost_j r^2 against the price of its bits, and nothing else depends on it but what later
     columns can repair: the rate-aware kin is Conzelmann and Bamler 2025, CERWU, arXiv:2505.18758.
  3. Columns are visited by falling diagonal of H: what matters most is decided while most can still be repaired.
  4. numpy float64, fixed orders of summation: the same input gives the same levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from tersenet.errors import TersenetError

Rows = Float64[np.ndarray, " rows"]
Grid = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From values (rows, n) to the levels worth a look (k, rows, n), nearest first, and what they stand for."""
Decide = Callable[[np.ndarray, int], np.ndarray]
"""From the matrix (*groups, rows, columns), columns in the order of visit, and the number of the next one to the values
(*groups, rows) it takes.

Columns before it hold what was decided; the later ones of its block are up to date, and at a block's first column all.
"""

# Columns that are decided before their errors are carried to the rest at once, by one matrix product.
BLOCK = 64
# Counted for each level before any is seen (Krichevsky and Trofimov 1981).
UNSEEN = 0.5
# Rows, and columns, fall into at most so many classes, and a pair of classes holds at least so many weights.
MOST_CLASSES = 4
A_CLASS = 256
# Weights that a pair of classes counts as if they had been seen, shared out as in the whole matrix.
BORROWED = 8.0


@dataclass(frozen=True)
class Factor:
    """What feedback needs of H, made once and used for as many steps and prices as are tried.

    order   the columns as they are visited
    upper   U of the inverse, in that order
    cost    weight of a column's squared error when its turn comes, in that order

    Of several groups that go side by side, one U and cost each.
    """

    order: Int64[np.ndarray, " columns"]
    upper: Float64[np.ndarray, "*groups columns columns"]
    cost: Float64[np.ndarray, "*groups columns"]


def factorise(
    hessian: Float64[np.ndarray, "columns columns"], order: Int64[np.ndarray, " columns"] | None = None
) -> Factor:
    """Order and factor a symmetric positive definite H. Refused where it holds NaN or is not definite.

    order   of the columns; by falling diagonal if none is given
    """
    if not np.isfinite(hessian).all():
        raise TersenetError("the second moments of a layer's inputs hold NaN or infinite values; look at the data")
    if order is None:
        order = np.argsort(-np.diagonal(hessian), kind="stable")
    try:
        # H = R^T R from the last column on gives H^-1 = U^T U with U = R^-T flipped back: one factor, no inverse of H.
        flipped = np.linalg.cholesky(hessian[np.ix_(order[::-1], order[::-1])])
    except np.linalg.LinAlgError as error:
        raise TersenetError("the second moments of a layer's inputs are not positive definite; damp them") from error
    upper = np.linalg.inv(flipped)[::-1, ::-1]
    return Factor(order, np.ascontiguousarray(upper), 1 / np.square(np.diagonal(upper)))


def damped(
    moment: Float64[np.ndarray, "columns columns"], count: int, damping: float = 0.01
) -> Float64[np.ndarray, "columns columns"]:
    """A second moment of `count` rows made safe to invert.

    `damping` times the mean of the diagonal is added to it (GPTQ, section 3.3). Where rows are few, the rest shrinks
    towards its diagonal by columns / (columns + count), so that chance correlations are not relied on.
    """
    columns = len(moment)
    mean = float(np.trace(moment)) / max(columns, 1)
    if not np.isfinite(mean):
        raise TersenetError("the second moments of a layer's inputs hold NaN or infinite values; look at the data")
    if mean <= 0:
        return np.eye(columns)
    shrunk = moment * (count / (columns + count))
    np.fill_diagonal(shrunk, np.diagonal(moment) + damping * mean)
    return shrunk


def uniform_grid(step: Rows) -> Grid:
    """Integers times a step a row: the nearest, the next one towards zero, and zero."""
    column = step[:, None]

    def grid(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nearest = np.rint(values / column)
        levels = np.stack([nearest, nearest - np.sign(nearest), np.zeros_like(nearest)])
        return levels.astype(np.int64), levels * column

    return grid


def feedback_round(
    weight: Float64[np.ndarray, "rows columns"],
    factor: Factor,
    grid: Grid,
    *,
    row_weight: Rows | None = None,
    bit_price: float = 0.0,
    lengths: CodeLengths | None = None,
    block: int = BLOCK,
) -> Int64[np.ndarray, "rows columns"]:
    """The level of each weight, by increasing sum of row_weight_i cost_j r_ij^2 + bit_price bits(level_ij).

    bits are ideal code lengths under the counts of rows and columns that are about as busy (see `CodeLengths`),
    estimated anew before each block from the levels decided so far and those that the open weights would take as they
    stand; or `lengths`, where a matrix is too small for counts of its own. bit_price 0 takes the nearest value each
    time: GPTQ.
    """
    importance = np.ones(len(weight)) if row_weight is None else row_weight
    levels = np.empty(weight.shape, np.int64)
    bits = lengths or _first_lengths(weight[:, factor.order], factor.cost, grid, importance, bit_price)

    def decide(open_: np.ndarray, column: int) -> np.ndarray:
        nonlocal bits
        if bit_price > 0 and column and column % block == 0 and lengths is None:
            rest = slice(column, None)
            guess = _decide(open_[:, rest], rest, factor.cost, grid, importance, bit_price, bits)[0]
            bits = CodeLengths.of(np.concatenate([levels[:, :column], guess], axis=1))
        here = slice(column, column + 1)
        levels[:, here], value = _decide(open_[:, here], here, factor.cost, grid, importance, bit_price, bits)
        return value[:, 0]

    feed_back(weight, factor, decide, block=block)
    back = np.empty_like(levels)
    back[:, factor.order] = levels
    return back


def feed_back(
    weight: Float64[np.ndarray, "*groups rows columns"], factor: Factor, decide: Decide, *, block: int = BLOCK
) -> Float64[np.ndarray, "*groups rows columns"]:
    """The values that `decide` gives, column by column in the order of `factor`, errors carried to the open ones.

    Groups go side by side, each with a factor of its own in the same order.
    """
    columns = weight.shape[-1]
    open_ = weight[..., factor.order]
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        errors = np.empty((*weight.shape[:-1], stop - start))
        for column in range(start, stop):
            value = decide(open_, column)
            error = (open_[..., column] - value) / factor.upper[..., column, column, None]
            open_[..., column] = value
            open_[..., column + 1 : stop] -= error[..., None] * factor.upper[..., column, None, column + 1 : stop]
            errors[..., column - start] = error
        open_[..., stop:] -= errors @ factor.upper[..., start:stop, stop:]
    decided = np.empty_like(open_)
    decided[..., factor.order] = open_
    return decided


@dataclass(frozen=True)
class CodeLengths:
    """Bits of each level under counts of some: an adaptive coder whose contexts are how busy a row and a column are.

    low      the lowest level, bits for it and each up to the highest; levels beyond are taken for the outermost
    bits     by class of the row, class of the column, and level
    row      the class of each row, or one for all
    column   the class of each column, or one for all
    """

    low: int
    bits: Float64[np.ndarray, "row_classes column_classes levels"]
    row: Int64[np.ndarray, " rows"]
    column: Int64[np.ndarray, " columns"]

    @classmethod
    def of(cls, levels: Int64[np.ndarray, "rows columns"], *, classes: bool = True) -> CodeLengths:
        """Lengths for these levels and the ones next to them; a level that does not occur counts one half.

        classes   of rows and of columns with about the same mean magnitude, as many as A_CLASS leaves; one otherwise
        """
        low, high = min(int(levels.min()), 0) - 1, max(int(levels.max()), 0) + 1
        span = high - low + 1
        many = many_classes(levels.size) if classes else 1
        row = classes_of(np.abs(levels).mean(1), many)
        column = classes_of(np.abs(levels).mean(0), many)
        place = (row[:, None] * many + column) * span + (levels - low)
        counts = np.bincount(place.reshape(-1), minlength=many * many * span).reshape(many, many, span).astype(float)
        total = counts.sum((0, 1)) + UNSEEN
        # What a class has seen little of it takes from the whole.
        counts += BORROWED * total / total.sum() if many > 1 else UNSEEN
        return cls(low, np.log2(counts.sum(2, keepdims=True)) - np.log2(counts), row, column)

    def at(self, levels: Int64[np.ndarray, "k rows n"], columns: slice) -> Float64[np.ndarray, "k rows n"]:
        """For levels of all rows in some columns."""
        level = np.clip(levels - self.low, 0, self.bits.shape[2] - 1)
        row, column = (self.row[:, None], self.column[columns]) if self.bits.shape[0] > 1 else (0, 0)
        found: np.ndarray = self.bits[row, column, level]
        return found


def many_classes(weights: int) -> int:
    """Of rows, and of columns, as many as A_CLASS leaves."""
    return min(max(int((weights / A_CLASS) ** 0.5), 1), MOST_CLASSES)


def classes_of(busy: Float64[np.ndarray, " n"], many: int) -> Int64[np.ndarray, " n"]:
    """Equal shares by rank."""
    rank = np.empty(len(busy), np.int64)
    rank[np.argsort(busy, kind="stable")] = np.arange(len(busy))
    return rank * many // max(len(busy), 1)


def _first_lengths(
    weight: np.ndarray, cost: np.ndarray, grid: Grid, importance: np.ndarray, bit_price: float
) -> CodeLengths:
    """From rounding to nearest, then from the decisions that these lengths bring about."""
    lengths = CodeLengths.of(grid(weight)[0][0])
    for _ in range(2 if bit_price > 0 else 0):
        lengths = CodeLengths.of(_decide(weight, slice(None), cost, grid, importance, bit_price, lengths)[0])
    return lengths


def _decide(
    values: np.ndarray,
    columns: slice,
    cost: np.ndarray,
    grid: Grid,
    importance: np.ndarray,
    bit_price: float,
    bits: CodeLengths,
) -> tuple[np.ndarray, np.ndarray]:
    """The best level for each of (rows, n) values in these columns and what it stands for; at a tie the nearer one."""
    levels, stands = grid(values)
    if bit_price <= 0:
        return levels[0], stands[0]
    total = np.square(values - stands) * (importance[:, None] * cost[columns]) + bit_price * bits.at(levels, columns)
    best = np.argmin(total, axis=0)[None]
    return np.take_along_axis(levels, best, 0)[0], np.take_along_axis(stands, best, 0)[0]
