"""Where the kept weights of a sparse tensor are, in the fewest bytes.

The same places can be written as gaps or as a bitmask, along rows or along columns, with rows and columns that
hold nothing left out first, or as a code for every place with 0.0 among the codes. All are trees of the storage
grammar; the smaller wins. Estimates from histograms choose a few candidates, their real coded sizes decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import inf, log2, prod

import numpy as np

from tersenet.bits import IntStream, entropy_bits
from tersenet.errors import TersenetError
from tersenet.forms.dense import smallest_spelling
from tersenet.storage import Floats, Integers, Permute, Reshape, Scatter, Storage, Table, reorder, size_bytes

# Spans tried for the gaps: 2**b - 1, so that gap symbols take b bits before coding.
GAP_BITS = range(2, 13)
# How many of the best estimates are coded for real.
FINALISTS = 4
MAX_CODES = 65_536
# Transposing a large matrix takes longer than decoding it, so there it must save this share of the bytes.
TRANSPOSED_FROM = 1 << 20
TRANSPOSED_SAVES = 1 / 64


@dataclass(frozen=True)
class _Candidate:
    """A layout: its estimated cost beyond the values' own, how to build it, and a factor on its size when compared."""

    estimate_bits: float
    build: Callable[[], Storage]
    handicap: float = 1.0


def smallest_layout(position: np.ndarray, shape: tuple[int, ...], values: Storage, coder: str) -> Storage:
    """Storage of `shape` with `values` (1-D) at the ascending flat `position`s, zero elsewhere."""
    total = prod(shape)
    candidates = list(_codes(position, shape, values, coder))
    rows, columns = (shape[0], total // shape[0]) if shape and shape[0] else (1, total)
    for transposed in (False, True):
        order = np.arange(len(position))
        at, height, width = position, rows, columns
        if transposed:
            if min(rows, columns) == 1 or not _can_reorder(values):
                continue
            at = position % columns * rows + position // columns
            order = np.argsort(at, kind="stable")
            at, height, width = at[order], columns, rows
        moved = _lazily(values, order if transposed else None)
        back = _back(shape, transposed, height, width)
        handicap = 1 + TRANSPOSED_SAVES if transposed and total >= TRANSPOSED_FROM else 1.0
        found = (*_flat(at, height * width, moved, coder, back), *_compact(at, height, width, moved, coder, back))
        candidates.extend(replace(one, handicap=handicap) for one in found)
    candidates.sort(key=lambda candidate: candidate.estimate_bits * candidate.handicap)
    finalists = [(candidate.build(), candidate.handicap) for candidate in candidates[:FINALISTS]]
    return min(finalists, key=lambda finalist: size_bytes(finalist[0], coder) * finalist[1])[0]


def _can_reorder(values: Storage) -> bool:
    try:
        reorder(values, np.arange(values.numel))
    except TersenetError:
        return False
    return True


def _lazily(values: Storage, order: np.ndarray | None) -> Callable[[], Storage]:
    return lambda: values if order is None else reorder(values, order)


def _back(shape: tuple[int, ...], transposed: bool, height: int, width: int) -> Callable[[Storage], Storage]:
    """From the flat or (height, width) placement to the tensor's own shape."""

    def build(tree: Storage) -> Storage:
        if transposed:
            if len(tree.shape) != 2:
                tree = Reshape(tree, (height, width))
            tree = Permute(tree, (1, 0))
        return tree if tree.shape == shape else Reshape(tree, shape)

    return build


def _flat(
    at: np.ndarray, size: int, values: Callable[[], Storage], coder: str, back: Callable[[Storage], Storage]
) -> Iterator[_Candidate]:
    for bits, place in _placements(at, size, coder):
        yield _Candidate(bits, partial(_build_flat, place, values, back))


def _build_flat(
    place: Callable[[Storage], Storage], values: Callable[[], Storage], back: Callable[[Storage], Storage]
) -> Storage:
    return back(place(values()))


def _compact(
    at: np.ndarray,
    height: int,
    width: int,
    values: Callable[[], Storage],
    coder: str,
    back: Callable[[Storage], Storage],
) -> Iterator[_Candidate]:
    """Rows and columns that hold nothing are left out, then placed back around a smaller matrix."""
    row, column = np.divmod(at, width) if width else (at, at)
    rows, columns = np.unique(row), np.unique(column)
    if not len(at) or (len(rows) == height and len(columns) == width):
        return
    inner = np.searchsorted(rows, row) * len(columns) + np.searchsorted(columns, column)
    row_bits, place_rows = min(_placements(rows, height, coder), key=lambda found: found[0])
    column_bits, place_columns = min(_placements(columns, width, coder), key=lambda found: found[0])

    def build(place: Callable[[Storage], Storage]) -> Storage:
        tree: Storage = Reshape(place(values()), (len(rows), len(columns)))
        if len(columns) < width:
            tree = Permute(place_columns(Permute(tree, (1, 0))), (1, 0))
        return back(place_rows(tree) if len(rows) < height else tree)

    for bits, place in _placements(inner, len(rows) * len(columns), coder):
        # Structure around the inner placement takes a dozen bytes.
        yield _Candidate(bits + row_bits + column_bits + 96, partial(build, place))


def _placements(at: np.ndarray, size: int, coder: str) -> Iterator[tuple[float, Callable[[Storage], Storage]]]:
    """Ways to put blocks at the ascending places `at` of `size`: estimated bits, and the scatter."""
    if size <= 16 * len(at) + 64:
        mask = np.zeros(size, np.uint8)
        mask[at] = 1
        bitmask = Integers(IntStream(name="bitmask", values=mask, alphabet=2))
        estimate = _estimate_bits(np.array([size - len(at), len(at)]), 2, coder)
        yield estimate, partial(Scatter, position=bitmask, size=size, bitmask=True)
    gaps = np.diff(at, prepend=-1) - 1
    largest = int(gaps.max()) if len(gaps) else 0
    for bits in GAP_BITS:
        span = 2**bits - 1
        if span > largest:
            # Wide enough for every gap: no fillers, and only as many symbols as are needed.
            span = max(largest + 1, 1)
        counts = np.bincount(gaps % span, minlength=span + 1)
        counts[span] = int((gaps // span).sum())
        yield _estimate_bits(counts, span + 1, coder), partial(_by_gaps, gaps=gaps, span=span, size=size)
        if span > largest:
            return


def _by_gaps(values: Storage, *, gaps: np.ndarray, span: int, size: int) -> Storage:
    return Scatter(values, _gap_stream(gaps, span), size, False)


def _gap_stream(gaps: np.ndarray, span: int) -> Integers:
    """Each gap as its fillers (symbol `span`, each worth `span` places), then the rest."""
    fillers = gaps // span
    symbols = np.full(len(gaps) + int(fillers.sum()), span, np.int64)
    symbols[np.cumsum(fillers) + np.arange(len(gaps))] = gaps % span
    return Integers(IntStream(name="gaps", values=symbols, alphabet=span + 1))


def _codes(position: np.ndarray, shape: tuple[int, ...], values: Storage, coder: str) -> Iterator[_Candidate]:
    """A code for every place, where the values are a table's: 0.0 stands among them in their order, or before them."""
    if not (isinstance(values, Table) and isinstance(values.entries, Floats) and isinstance(values.index, Integers)):
        return
    entries, index = values.entries.values, values.index.stream.values
    total = prod(shape)
    # Below half, gaps are as small and decode in proportion to what is kept, not to what is not. Range coding gains more
    # by seeing rows and columns.
    most = 16 if coder == "range" else 2
    if total > most * len(position) or len(entries) + 1 > MAX_CODES:
        return
    counts = np.bincount(index, minlength=len(entries))
    all_counts = np.concatenate(([total - len(position)], counts))
    extra = _estimate_bits(all_counts, len(all_counts), coder) - _estimate_bits(counts, len(counts), coder)
    ordered = coder == "range" and bool((np.diff(entries) > 0).all())
    zero = int(np.searchsorted(entries, 0)) if ordered else 0

    def build() -> Storage:
        codes = np.full(total, zero, np.int64)
        codes[position] = index.astype(np.int64) + (index >= zero)
        stream = IntStream(name="index", values=codes, alphabet=len(entries) + 1)
        with_zero = np.insert(entries, zero, 0)
        table = Table(smallest_spelling(with_zero, coder), Integers(stream))
        return table if len(shape) == 1 else Reshape(table, shape)

    # The estimate does not know what neighbours tell: under range coding it is always coded for real.
    yield _Candidate(-inf if coder == "range" else extra, build)


def _estimate_bits(counts: np.ndarray, alphabet: int, coder: str) -> float:
    """About what a stream with these symbol counts takes: packed, or entropy plus a table."""
    n = int(counts.sum())
    packed = n * (alphabet - 1).bit_length()
    if coder == "raw" or n == 0:
        return float(packed)
    used = int((counts > 0).sum())
    entropy = float(entropy_bits(counts=counts))
    if coder == "huffman":
        # At least one bit a symbol, and about five bits a used symbol for the lengths.
        coded = max(entropy * 1.01, n if used > 1 else 0) + 5 * used + 16
    else:
        coded = entropy + (log2(max(n, 2)) / 2 + 3) * used + 40
    return float(min(packed, coded))
