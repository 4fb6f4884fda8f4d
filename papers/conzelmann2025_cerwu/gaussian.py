"""How far rounding is from the rate-distortion bound, on Gaussian weights whose inputs have a random covariance.

For weights N(0, 1) and errors weighed by H with eigenvalues l_i, the least bits a weight for a mean squared error D are
R(D) = mean max(0, log2(l_i / t) / 2) with D = mean min(t, l_i) (reverse water-filling; Cover and Thomas, chapter 10).
A scalar grid under an ideal entropy code stays log2(pi e / 6) / 2 = 0.2546 bits above it where steps are small.
"""

from __future__ import annotations

import numpy as np

from tersenet.bits import IntStream
from tersenet.coding import get_coder
from tersenet.methods._feedback import factorise, feedback_round, uniform_grid
from tersenet.methods._steps import column_times
from tersenet.methods._trellis import trellis_round
from tersenet.methods.oneshot import TRELLIS_STEP

ROWS, COLUMNS = 256, 64
# In a layer of these the coder has more to learn from.
LARGER = 1024, 256
RATES = (1.0, 2.0, 3.0)
PRICES = (0.03, 0.116)
# Of the mean diagonal. Without any, feedback drives the weights of columns that hardly count far from zero, and their bits up.
DAMPINGS = (0.001, 0.03, 0.1, 0.3)
# What the recipe `oneshot` takes.
SHIPPED = (0.03, 0.03, 0.0)
# Squares of the step.
PULLS = (0.02, 0.03, 0.05, 0.083)
STATES = 32
SCALAR_LIMIT = 0.5 * np.log2(np.pi * np.e / 6)


def problem(seed: int, rows: int = ROWS, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Weights (rows, columns), and H of inputs mixed at random from sources of falling size."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(columns, columns)) * np.linspace(0.2, 2, columns)
    hessian = mixing @ mixing.T / columns
    return generator.normal(size=(rows, columns)), hessian / np.trace(hessian) * columns


def bound_bits(hessian: np.ndarray, distortion: float) -> float:
    """R(D) in bits a weight."""
    variances = np.linalg.eigvalsh(hessian)
    low, high = 0.0, float(variances.max())
    for _ in range(100):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(level, variances).mean() < distortion else (low, level)
    return float(np.maximum(0.5 * np.log2(variances / low), 0).mean())


def coded(
    weight: np.ndarray,
    hessian: np.ndarray,
    step: float,
    price: float,
    damping: float,
    pull: float,
    by_column: bool,
    states: int,
) -> tuple[float, float]:
    """Bits a weight, by the range coder to the byte, and the mean squared error weighed by H.

    pull        what is added to the diagonal, in squares of the step, with zero and not the weight as what it draws to: along
                directions of less than the noise of rounding nothing is kept, as by Wiener's filter before an
                optimal quantiser (Zamir, Kochman and Erez 2008, IEEE Trans. Inf. Theory 54(7))
    by_column   a step a column, so that each column's error costs about the same when its turn comes (what the steps take
                in a file is not counted)
    states      of the trellis that each column's levels go through; 0 for none
    """
    damped = hessian + (damping * np.trace(hessian) / len(hessian) + pull * step**2) * np.eye(len(hessian))
    target = np.linalg.solve(damped, hessian @ weight.T).T if pull else weight
    order = np.argsort(-np.diagonal(hessian), kind="stable")
    scale = np.ones(len(hessian))
    if by_column:
        scale = column_times(damped, len(weight)).values.astype(float)
        scale /= np.exp(np.log(scale).mean())
    size = scale * step * (TRELLIS_STEP if states else 1)
    factor = factorise(damped * size[:, None] * size, order)
    bit_price = price * float(factor.cost.mean())
    if states:
        levels = trellis_round(target / size, factor, states=states, bit_price=bit_price)
    else:
        levels = feedback_round(target / size, factor, uniform_grid(np.ones(len(weight))), bit_price=bit_price)
    rounded = levels * size
    power = np.einsum("ij,jk,ik->", rounded, hessian, rounded)
    along = np.einsum("ij,jk,ik->", weight, hessian, rounded) / power if power > 0 else 1.0
    error = weight - along * rounded
    low, by_columns = levels.min(), np.ascontiguousarray(levels.T)
    stream = IntStream(name="levels", values=(by_columns - low).reshape(-1), alphabet=int(levels.max() - low) + 1)
    bits = 8 * len(get_coder("range").encode(stream)) / levels.size
    return bits, float(np.einsum("ij,jk,ik->", error, hessian, error)) / error.size


def gap_at(
    weight: np.ndarray,
    hessian: np.ndarray,
    rate: float,
    price: float,
    damping: float,
    pull: float,
    by_column: bool,
    states: int,
) -> tuple[float, float]:
    """Bits a weight, within 0.02 of `rate`, and how far they are above the bound at the same error."""
    low, high = 2.0**-5, 2.0**4
    for _ in range(12):
        step = (low * high) ** 0.5
        bits, distortion = coded(weight, hessian, step, price, damping, pull, by_column, states)
        if abs(bits - rate) < 0.02:
            break
        low, high = (step, high) if bits > rate else (low, step)
    return bits, bits - bound_bits(hessian, distortion)


def gaps(seed: int = 0) -> dict[str, dict[str, float]]:
    """By rate and way: bits, gap to the bound, and the price and damping that made it least."""
    usual, larger = problem(seed), problem(seed, *LARGER)
    every = [(price, damping, 0.0) for price in PRICES for damping in DAMPINGS]
    pulled = [(price, 1e-6, pull) for price in (0.0, 0.03) for pull in PULLS]
    ways = {
        "as shipped": (usual, True, STATES, [SHIPPED]),
        "as shipped, without the trellis": (usual, True, 0, [SHIPPED]),
        "one step": (usual, False, 0, every),
        "a step a column": (usual, True, 0, every),
        "a trellis of 32 states": (usual, True, STATES, every),
        "a trellis of 256 states": (usual, True, 256, every),
        "pulled to zero, no trellis": (usual, True, 0, pulled),
        "pulled to zero, 32 states": (usual, True, STATES, pulled),
        "pulled to zero, 256 states": (usual, True, 256, pulled),
        "pulled to zero, 256 states, 1,024 x 256": (larger, True, 256, pulled[: len(PULLS)]),
    }
    found = {}
    for rate in RATES:
        for way, ((weight, hessian), by_column, states, settings) in ways.items():
            tried = []
            for price, damping, pull in settings:
                bits, gap = gap_at(weight, hessian, rate, price, damping, pull, by_column, states)
                tried.append((gap, bits, price, damping, pull))
            gap, bits, price, damping, pull = min(tried)
            found[f"{rate:g} bits, {way}"] = {
                "bits": round(bits, 3),
                "gap_bits": round(gap, 3),
                "price": price,
                "damping": damping,
                "pull": pull,
            }
    return found
