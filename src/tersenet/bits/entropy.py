"""Zeroth-order entropy: what an ideal coder that knows only the counts would spend."""

import numpy as np


def entropy_bits(values: np.ndarray | None = None, *, counts: np.ndarray | None = None) -> float:
    """Total bits of the values, sum of c log2(n / c) over the counts c (Shannon 1948).

    Give the values, or their counts if they are already known.
    """
    if (values is None) == (counts is None):
        raise TypeError("entropy_bits takes either values or counts")
    if counts is None:
        values = np.asarray(values)
        small = values.dtype.kind == "u" and values.dtype.itemsize <= 2
        counts = np.bincount(values.ravel()) if small else np.unique(values, return_counts=True)[1]
    used = np.asarray(counts)
    used = used[used > 0].astype(np.float64)
    if used.size < 2:
        return 0.0
    return float((used * (np.log2(used.sum()) - np.log2(used))).sum())
