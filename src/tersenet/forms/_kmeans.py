"""k-means on a line: k shared values for many weights, after Han et al. 2016, arXiv:1510.00149, section 3.

numpy in, numpy out. The loops are cpp/tersenet/kmeans1d.h, where each contract stands; here are the checks
and the initial guesses. One thread and fixed orders of summation: the same input gives the same bits.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from tersenet import _core
from tersenet.errors import TersenetError
from tersenet.forms._vector_kmeans import plus_plus, sample

Init = Literal["forgy", "density", "linear", "kmeans++"]
Start = Literal["forgy", "density", "linear", "kmeans++", "optimum"]

MAX_CENTROIDS: Final = 65_536
"""A codebook's limit in the file: every index fits 16 bits."""


class UnusableValues(TersenetError):
    """Values, weights or a number of centroids that no codebook can be made of."""


def initial_centroids(
    values: npt.ArrayLike,
    k: int,
    init: Init,
    seed: int = 0,
    *,
    weights: npt.ArrayLike | None = None,
) -> np.ndarray:
    """k ascending float32 guesses for n values of any shape (Han et al. 2016, section 3.2).

    forgy    k different ones among the values, drawn by `seed`
    density  where the cumulative distribution (of the weights, if given) crosses (i + 1/2) / k; a value
             that many share can be several centroids, of which only the first is ever assigned
    linear   equally spaced from the least to the largest value; their middle for k = 1
    kmeans++  k of (a sample of) the values, each drawn by its squared distance from those before it, the best of a few
             drawn each time (Arthur and Vassilvitskii 2007)
    """
    flat, mass = _checked(values, weights)
    _check_k(k)
    if init == "linear":
        low, high = float(flat.min()), float(flat.max())
        return (np.linspace(low, high, k) if k > 1 else np.array([(low + high) / 2])).astype(np.float32)
    if init == "density":
        return _quantiles(flat, mass, (np.arange(k) + 0.5) / k)
    if init == "forgy":
        return np.sort(_different_observations(flat, k, seed))
    if init == "kmeans++":
        points, masses = sample(flat[:, None], None if mass is None else mass[:, None].astype(np.float32), k, seed)
        return np.sort(plus_plus(points, k, masses, seed)[:, 0])
    raise UnusableValues(f"initial centroids '{init}' are unknown; choose one of {', '.join(get_args(Init))}")


def lloyd(
    values: npt.ArrayLike,
    centroids: npt.ArrayLike,
    *,
    iterations: int = 300,
    weights: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Lloyd's algorithm from `centroids` to a fixed point, at most `iterations` steps: float32, ascending.

    An empty cluster keeps its centroid. Exact up to 4,194,304 values or 65,536 different ones; beyond, it
    runs on a histogram of at most 98,304 bins and ends with two exact steps over all values.
    """
    flat, mass = _checked(values, weights)
    start = _checked_centroids(centroids)
    if iterations < 0:
        raise UnusableValues(f"iterations is {iterations}; give 0 or more")
    return _array(_core.kmeans1d_lloyd(flat, np.sort(start), iterations, mass))


def optimum(values: npt.ArrayLike, k: int, weights: npt.ArrayLike | None = None) -> np.ndarray:
    """The centroids of least sum of w (v - c)^2 that k can reach: float32, ascending.

    Exact for up to 65,536 different values; beyond, the optimum of a histogram of at most 98,304 bins, then
    two exact steps of Lloyd over all values. Where there are fewer different values (or filled bins) than k,
    so many centroids.
    """
    flat, mass = _checked(values, weights)
    _check_k(k)
    return _array(_core.kmeans1d_optimum(flat, k, mass))


def assign(values: npt.ArrayLike, centroids: npt.ArrayLike) -> np.ndarray:
    """The index of the nearest centroid for each value, in the values' shape and the smallest unsigned dtype.

    Exact, as if in real numbers; at a tie the lower centroid, among equal centroids the first. They may come
    in any order; indices refer to it.
    """
    shape = np.shape(values)
    flat, _ = _checked(values, None, allow_empty=True)
    table = _checked_centroids(centroids)
    dtype = np.min_scalar_type(table.size - 1)
    indices = np.empty(flat.size, dtype)
    if (table[1:] >= table[:-1]).all():
        _core.kmeans1d_assign(flat, table, indices)
    else:
        order = np.argsort(table, kind="stable")
        _core.kmeans1d_assign(flat, table[order], indices)
        indices = order.astype(dtype)[indices]
    return indices.reshape(shape)


def cluster(
    values: npt.ArrayLike,
    k: int,
    *,
    init: Start = "optimum",
    seed: int = 0,
    weights: npt.ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """At most k float32 centroids, ascending, and each value's index into them, in the values' shape.

    `optimum` is the default: nothing of that size is nearer to the values. The others start Lloyd's
    algorithm; Han et al. found linear best once the centroids are trained, since it leaves the few large
    weights their own.

    Where k exceeds the number of different values (of non-zero weight), these are the codebook, which is then
    exact and smaller than asked; so constant values give one centroid. Tell the user when
    `len(centroids) < k`.
    """
    flat, mass = _checked(values, weights)
    _check_k(k)
    if init not in get_args(Start):
        known = ", ".join(get_args(Start))
        raise UnusableValues(f"clustering from '{init}' is unknown; choose one of {known}")
    few = _core.kmeans1d_distinct(flat, k)
    if few is not None:
        centroids = _array(few)
    elif init == "optimum":
        centroids = _array(_core.kmeans1d_optimum(flat, k, mass))
    else:
        guess = initial_centroids(flat, k, init, seed, weights=mass)
        centroids = lloyd(flat, guess, weights=mass)
    return centroids, assign(values, centroids)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def _checked(
    values: npt.ArrayLike, weights: npt.ArrayLike | None, *, allow_empty: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 values and float64 weights, flat, finite, those of weight 0 left out.

    Weights are scaled by a power of two, which changes no bit of a mean, to at most 1: no product overflows.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise UnusableValues(f"values are of type {given.dtype}; real numbers are expected")
    with np.errstate(over="ignore"):
        flat = np.ascontiguousarray(given, dtype=np.float32).reshape(-1)
    if flat.size == 0 and not allow_empty:
        raise UnusableValues("there are no values to cluster; give at least one")
    if not _core.kmeans1d_all_finite(flat):
        count = int(flat.size - np.isfinite(flat).sum())
        raise UnusableValues(
            f"{count} of {flat.size} values are NaN, infinite or beyond float32; only finite weights can be "
            "shared, so look for the training step that made them"
        )
    if weights is None:
        return flat, None
    mass = np.ascontiguousarray(weights, dtype=np.float64).reshape(-1)
    if mass.size != flat.size:
        raise UnusableValues(f"{mass.size} weights came for {flat.size} values; one for each is expected")
    if not (np.isfinite(mass).all() and (mass >= 0).all()):
        raise UnusableValues("a weight is negative, NaN or infinite; weights are finite and 0 or more")
    mass = np.ldexp(mass, -int(np.frexp(mass.max())[1]))
    kept = mass > 0
    if not kept.any():
        raise UnusableValues("all weights are 0; at least one value must count")
    return (flat, mass) if kept.all() else (flat[kept], mass[kept])


def _checked_centroids(centroids: npt.ArrayLike) -> np.ndarray:
    table = np.ascontiguousarray(centroids, dtype=np.float32)
    if table.ndim != 1 or table.size == 0 or not np.isfinite(table).all():
        raise UnusableValues(f"centroids of shape {table.shape} came; a list of one or more finite numbers is expected")
    return table


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= MAX_CENTROIDS:
        raise UnusableValues(f"k is {k}; give a whole number of centroids from 1 to {MAX_CENTROIDS}")


def _quantiles(flat: np.ndarray, mass: np.ndarray | None, levels: np.ndarray) -> np.ndarray:
    """For each level the least value at which the cumulative distribution reaches it."""
    if mass is None:
        ranks = np.clip(np.ceil(levels * flat.size).astype(np.int64) - 1, 0, flat.size - 1)
        return np.partition(flat, np.unique(ranks))[ranks]
    order = np.argsort(flat, kind="stable")
    below = np.cumsum(mass[order])
    ranks = np.searchsorted(below, levels * below[-1])
    return flat[order][np.minimum(ranks, flat.size - 1)]


def _different_observations(flat: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The first k different values in an order drawn by `seed`; the sample grows until it holds them."""
    for size in (4 * k, 64 * k, flat.size):
        drawn = np.random.default_rng(seed).choice(flat, min(size, flat.size), replace=False)
        _, first = np.unique(drawn, return_index=True)
        if first.size >= k:
            return drawn[np.sort(first)[:k]]
    raise UnusableValues(
        f"forgy was asked for {k} different values and there are {first.size}; ask for at most {first.size}"
    )
