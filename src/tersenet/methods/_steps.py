"""How large a step each layer takes, and each column or row of it.

With the loss sum_i S_i t_i^2 and the bits -sum_i N_i log2 t_i, t_i being the step of N_i weights, the least loss for given
bits has t_i ~ (S_i / N_i)^-1/2 (reverse water-filling; Cover and Thomas 2006, section 10.3.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from tersenet.bits import entropy_bits
from tersenet.graph import Network, WeightedLayer
from tersenet.methods._feedback import factorise

# 1/2 is right for small steps, but coarse layers are mostly zeros, and noise is no model of that.
# ResNet-20 at one quality, divergence on 512 held-out images: 0.033 (1.69 bits a weight) with power 0, 0.023 (1.71)
# with 1/4, 0.086 (1.78) with 1/2.
LAYER_POWER = 0.25
# Sensitivities further apart than this are noise of their measurement.
WIDEST = 2.0**10
# Steps of columns are integers times one number: so many on average, and half octaves from there.
MEAN_TIMES = 8
AN_OCTAVE = 2
# Octaves below and above the mean.
LOW, HIGH = -2, 3


def root_mean_squares(network: Network, layers: list[WeightedLayer]) -> dict[str, float]:
    """Of each weight; 1 where it is all zeros."""
    found = {}
    for layer in layers:
        found[layer.weight] = float(network.dense(layer.weight).double().square().mean().sqrt()) or 1.0
    return found


def spread(network: Network, steps: Mapping[str, float], sensitivity: Mapping[str, float]) -> dict[str, float]:
    """Steps of layers that buy a bit at more even prices, about as fine as they were together.

    sensitivity   by weight, the divergence of the outputs where that layer alone takes its step; 0 is not known
    """
    sizes = np.array([network.dense(name).numel() for name in steps], float)
    values = np.array([max(sensitivity.get(name, 0.0), 0.0) for name in steps]) / sizes
    times = np.ones(len(values))
    known = values > 0
    if known.any():
        middle = np.exp(np.average(np.log(values[known]), weights=sizes[known]))
        times[known] = np.clip(values[known] / middle, 1 / WIDEST, WIDEST) ** -LAYER_POWER
    return {name: step * float(more) for (name, step), more in zip(steps.items(), times)}


@dataclass(frozen=True)
class Times:
    """What one number is multiplied with for the step of each column, or each row; a single 1 where it is not worth it.

    gained   bits that this saves in the whole weight, what the integers take subtracted; 0 of the single 1
    """

    values: Int64[np.ndarray, " n"]
    gained: float = 0.0


ONE_STEP = Times(np.ones(1, np.int64))


def column_times(hessian: Float64[np.ndarray, "columns columns"], rows: int) -> Times:
    """Its turn come, a column's squared error counts cost_j (see `_feedback`), so that its step is ~ cost_j^-1/2.

    One step for all columns costs half the logarithm of arithmetic over geometric mean of the costs: 0.15 bits a weight
    in a published ResNet-20.
    """
    factor = factorise(hessian)
    cost = np.empty(len(hessian))
    cost[factor.order] = factor.cost
    return _times(cost, 1 / np.sqrt(cost), rows)


def row_times(steps: Float64[np.ndarray, " rows"], power: float, columns: int) -> Times:
    """Of steps that are the curvature at each row to the -`power`, up to a factor."""
    return _times(steps ** (-1 / power), steps, columns)


def _times(counts: Float64[np.ndarray, " n"], steps: Float64[np.ndarray, " n"], each: int) -> Times:
    """Steps as integers, where squared errors count so much, and each step serves so many weights.

    What is gained is true of small steps; at a bit a weight it is about half of that, which is what has to pay.
    """
    octaves = np.log2(steps)
    octaves = np.clip(octaves - octaves.mean(), LOW, HIGH)
    values = np.rint(MEAN_TIMES * 2.0 ** (np.rint(octaves * AN_OCTAVE) / AN_OCTAVE)).astype(np.int64)
    saved = (_uneven(counts) - _uneven(counts * np.square(values))) / 4 * each * len(values)
    gained = saved - entropy_bits(counts=np.unique(values, return_counts=True)[1])
    differ = bool((values != values[0]).any())  # else what is gained is rounding
    return Times(values, gained) if differ and gained > 0 else ONE_STEP


def _uneven(values: Float64[np.ndarray, " n"]) -> float:
    """The logarithm of arithmetic over geometric mean, in bits."""
    return float(np.log2(values.mean()) - np.log2(values).mean())
