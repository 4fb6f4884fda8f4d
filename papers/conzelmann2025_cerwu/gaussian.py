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

ROWS, COLUMNS = 512, 128
RATES = (1.0, 2.0, 3.0)
PRICES = (0.0, 0.03, 0.06, 0.116)
SCALAR_LIMIT = 0.5 * np.log2(np.pi * np.e / 6)


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (ROWS, COLUMNS), and H of inputs mixed at random from sources of falling size."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(COLUMNS, COLUMNS)) * np.linspace(0.2, 2, COLUMNS)
    hessian = mixing @ mixing.T / COLUMNS
    return generator.normal(size=(ROWS, COLUMNS)), hessian / np.trace(hessian) * COLUMNS


def bound_bits(hessian: np.ndarray, distortion: float) -> float:
    """R(D) in bits a weight."""
    variances = np.linalg.eigvalsh(hessian)
    low, high = 0.0, float(variances.max())
    for _ in range(100):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(level, variances).mean() < distortion else (low, level)
    return float(np.maximum(0.5 * np.log2(variances / low), 0).mean())


def coded(weight: np.ndarray, hessian: np.ndarray, step: float, price: float, by_column: bool) -> tuple[float, float]:
    """Bits a weight, by the range coder to the byte, and the mean squared error weighed by H.

    by_column   a step a column, so that each column's error costs the same when its turn comes (what the steps take in
                a file is not counted)
    """
    scale = np.ones(len(hessian))
    order = np.argsort(-np.diagonal(hessian), kind="stable")
    if by_column:
        scale[order] = factorise(hessian, order).cost ** -0.5
        scale /= np.exp(np.log(scale).mean())
    weight, hessian = weight / scale, hessian * scale[:, None] * scale
    factor = factorise(hessian, order)
    size = np.full(len(weight), step)
    levels = feedback_round(
        weight, factor, uniform_grid(size), bit_price=price * step * step * float(factor.cost.mean())
    )
    error = weight - levels * step
    low = levels.min()
    stream = IntStream(name="levels", values=(levels - low).reshape(-1), alphabet=int(levels.max() - low) + 1)
    bits = 8 * len(get_coder("range").encode(stream)) / levels.size
    return bits, float(np.einsum("ij,jk,ik->", error, hessian, error)) / error.size


def at_rate(weight: np.ndarray, hessian: np.ndarray, rate: float, price: float, by_column: bool) -> tuple[float, float]:
    """The same, at the step that comes to `rate` bits within 0.01."""
    low, high = 2.0**-8, 2.0**4
    for _ in range(30):
        step = (low * high) ** 0.5
        found = coded(weight, hessian, step, price, by_column)
        if abs(found[0] - rate) < 0.01:
            break
        low, high = (step, high) if found[0] > rate else (low, step)
    return found


def gaps(seed: int = 0) -> dict[str, dict[str, float]]:
    """By rate and way: bits, gap to the bound at the same error, and the price of a bit that made it least."""
    weight, hessian = problem(seed)
    found = {}
    for rate in RATES:
        for way, by_column in (("one step", False), ("a step a column", True)):
            tried = []
            for price in PRICES:
                bits, distortion = at_rate(weight, hessian, rate, price, by_column)
                tried.append((bits - bound_bits(hessian, distortion), bits, price))
            gap, bits, price = min(tried)
            found[f"{rate:g} bits, {way}"] = {"bits": round(bits, 3), "gap_bits": round(gap, 3), "price": price}
    return found
