"""How many components of a matrix are more than noise: empirical variational Bayesian matrix factorisation.

Y = B A^T + noise of variance s2, with Gaussian priors on the columns of A and B whose variances, like s2, are those that
explain Y best. The posterior that is best among those with A and B independent is known in closed form for every s2
(Nakajima, Sugiyama, Babacan and Tomioka 2013, JMLR 14, theorem 2; in the form used here Nakajima, Tomioka, Sugiyama and
Babacan 2015, JMLR 16, theorems 2 to 4), and s2 is found by a search over one number. docs/notes/vbmf.md derives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float64

from tersenet.errors import TersenetError

# Values of s2 looked at between two at which the number of components changes.
BETWEEN = 8
# Each step of a golden-section search leaves 0.618 of the interval: 1e-16 of it is left.
STEPS = 80
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Components:
    """What of a matrix is more than noise.

    rank     how many components; the largest ones
    values   singular values of the posterior mean, below those of the matrix
    noise    variance s2 of the noise in each entry
    """

    rank: int
    values: Float64[np.ndarray, " rank"]
    noise: float


def vbmf(matrix: Float64[np.ndarray, "rows columns"]) -> Components:
    """The components of a matrix that are more than noise. Refused: no entries, NaN."""
    if not matrix.size or not np.isfinite(matrix).all():
        raise TersenetError(
            f"a matrix of shape {matrix.shape} has {'no entries' if not matrix.size else 'NaN or infinite entries'}; "
            "there is nothing to estimate a rank from"
        )
    short, long = sorted(matrix.shape)
    gamma = np.linalg.svd(matrix, compute_uv=False)
    if gamma[0] == 0:
        return Components(0, np.zeros(0), 0.0)
    alpha = short / long
    noise = _noise(gamma, short, long)
    x = gamma**2 / (long * noise)
    rank = int((x > _threshold(alpha)).sum())
    return Components(rank, long * noise * _tau(x[:rank], alpha) / gamma[:rank], noise)


def _tau(x: Float64[np.ndarray, " n"], alpha: float) -> Float64[np.ndarray, " n"]:
    """The larger tau with x = (1 + tau) (1 + alpha / tau)."""
    half = x - (1 + alpha)
    return (half + np.sqrt(half**2 - 4 * alpha)) / 2


def _threshold(alpha: float) -> float:
    """The x above which a component lowers the free energy: at log(1 + tau) + alpha log(1 + tau / alpha) = tau."""
    low, high = 1e-3 * alpha**0.5, 10 * alpha**0.5
    for _ in range(STEPS):
        tau = (low + high) / 2
        if np.log1p(tau) + alpha * np.log1p(tau / alpha) > tau:
            low = tau
        else:
            high = tau
    return float((1 + high) * (1 + alpha / high))


def _free_energy(noise: float, gamma: Float64[np.ndarray, " short"], short: int, long: int) -> float:
    """Twice the free energy over `long`, without what does not depend on s2."""
    alpha = short / long
    x = gamma**2 / (long * noise)
    tau = _tau(x[x > _threshold(alpha)], alpha)
    gains = np.log1p(tau) + alpha * np.log1p(tau / alpha) - tau
    return float(short * np.log(noise) + x.sum() + gains.sum())


def _noise(gamma: Float64[np.ndarray, " short"], short: int, long: int) -> float:
    """The s2 with the least free energy, which lies between bounds (2015, theorem 4)."""
    squares, threshold = gamma**2, _threshold(short / long)
    most = int(np.ceil(short / (1 + short / long))) - 1
    high = squares.sum() / (short * long)
    low = max(squares[most] / (long * threshold), squares[most:].sum() / (long * (short - most)))
    # A matrix of low rank without any noise has no least one; below this is what rounding leaves.
    low = min(max(low, squares[0] * np.finfo(np.float64).eps ** 2), high)
    changes = squares / (long * threshold)
    edges = np.unique(np.concatenate([[low, high], changes[(low < changes) & (changes < high)]]))
    tried = np.unique([np.geomspace(a, b, BETWEEN + 1) for a, b in pairwise(edges)]) if low < high else edges
    energies = [_free_energy(one, gamma, short, long) for one in tried]
    best = int(np.argmin(energies))
    found = _golden(tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)], gamma, short, long)
    return min((float(tried[best]), found), key=lambda one: _free_energy(one, gamma, short, long))


def _golden(low: float, high: float, gamma: Float64[np.ndarray, " short"], short: int, long: int) -> float:
    """The least between two values, by golden section over the logarithm."""
    a, b = float(np.log(low)), float(np.log(high))
    for _ in range(STEPS):
        left, right = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
        if _free_energy(float(np.exp(left)), gamma, short, long) < _free_energy(
            float(np.exp(right)), gamma, short, long
        ):
            b = right
        else:
            a = left
    return float(np.exp((a + b) / 2))
