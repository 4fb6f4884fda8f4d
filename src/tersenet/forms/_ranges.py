"""How wide an even grid of given levels is laid over weights: the step of each run, by one of several rules.

READ FIRST
  1. A run of levels low..high, step s: a weight becomes the nearest of low * s, ..., high * s.
  2. With `symmetric` the levels are -(2^(bits-1) - 1) to its opposite. Otherwise there are 2^bits, 0 among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms._grid import usable_step

Range = Literal["minmax", "percentile", "mse", "hessian", "exact"]
# Shares of the full range that are tried; below a tenth of it no grid of 2 or more bits has been seen to be nearest.
SHARES = np.linspace(1.0, 0.1, 91)
# Given levels, the best step; given the step, the nearest levels: each lowers the error, and few rounds settle it.
REFINEMENTS = 4
PERCENTILE = 99.9
# Of float32 products, relative: two roundings are 1.2e-7.
NEARLY_WHOLE = 1e-6


@dataclass(frozen=True)
class Levels:
    """Which integers a grid has before its range is known."""

    bits: int
    symmetric: bool

    @property
    def span(self) -> int:
        """Between the least and the largest."""
        return 2**self.bits - (2 if self.symmetric else 1)

    def over(self, low: Float[Tensor, " m"], high: Float[Tensor, " m"]) -> Grids:
        """The grids from `low` to `high`, of each run; both sides alike where symmetric."""
        low, high = low.clamp(max=0), high.clamp(min=0)
        width = 2 * torch.maximum(-low, high) if self.symmetric else high - low
        return self.of_step(usable_step(width / self.span), low)

    def of_step(self, step: Float[Tensor, " m"], low: Float[Tensor, " m"]) -> Grids:
        least = (low / step).round() if not self.symmetric else torch.full_like(step, -self.span / 2)
        least = least.clamp(-self.span, 0).to(torch.int64)
        return Grids(step, least, least + self.span)


@dataclass(frozen=True)
class Grids:
    """A grid for each of m runs: step float32, least and largest level int64."""

    step: Float[Tensor, " m"]
    low: Int[Tensor, " m"]
    high: Int[Tensor, " m"]

    def levels(self, runs: Float[Tensor, "m n"]) -> Int[Tensor, "m n"]:
        """The nearest level of each weight, ties to even."""
        level = (runs.double() / self.step[:, None].double()).round()
        return level.clamp(self.low[:, None], self.high[:, None]).to(torch.int64)

    def where(self, better: Tensor, other: Grids) -> Grids:
        """Another grid for the runs that are named."""
        pairs = ((other.step, self.step), (other.low, self.low), (other.high, self.high))
        return Grids(*(torch.where(better, new, old) for new, old in pairs))


def lay(runs: Float[Tensor, "m n"], levels: Levels, by: Range, importance: Float[Tensor, "m n"] | None = None) -> Grids:
    """A grid for each run of weights.

    minmax      from the least to the largest weight
    percentile  between the percentiles 99.9 of both sides
    mse         the least squared error among clipped ranges
    hessian     the same, each weight's error times its `importance`
    exact       the grid that all weights of a run lie on to the last bit; refused where there is none
    """
    if by == "exact":
        return _exact(runs, levels)
    if by == "percentile":
        # Of PyTorch's own quantile more than 2^24 numbers are too many.
        ends = np.percentile(runs.numpy(), [100 - PERCENTILE, PERCENTILE], axis=1)
        return levels.over(*torch.from_numpy(ends))
    grids = levels.over(runs.amin(1), runs.amax(1))
    if by == "minmax":
        return grids
    if by == "hessian" and importance is None:
        raise TersenetError("the range hessian weighs errors by importance; pass it, or take mse")
    return _least_squares(runs, levels, grids, importance if by == "hessian" else None)


def _least_squares(runs: Tensor, levels: Levels, grids: Grids, importance: Tensor | None) -> Grids:
    least = _error(runs, grids, importance)
    low, high = runs.amin(1), runs.amax(1)
    for share in SHARES[1:]:
        tried = levels.over(low * share, high * share)
        grids, least = _better(runs, importance, grids, least, tried)
    for _ in range(REFINEMENTS):
        level = grids.levels(runs).double()
        weighted = level if importance is None else level * importance
        step = (weighted * runs).sum(1) / (weighted * level).sum(1).clamp(min=1e-300)
        tried = Grids(usable_step(step), grids.low, grids.high)
        grids, least = _better(runs, importance, grids, least, tried)
    return grids


def _better(runs: Tensor, importance: Tensor | None, grids: Grids, least: Tensor, tried: Grids) -> tuple[Grids, Tensor]:
    error = _error(runs, tried, importance)
    return grids.where(error < least, tried), torch.minimum(error, least)


def _error(runs: Tensor, grids: Grids, importance: Tensor | None) -> Float[Tensor, " m"]:
    squared = (grids.levels(runs) * grids.step[:, None].double() - runs).square()
    return (squared if importance is None else squared * importance).sum(1)


def _exact(runs: Tensor, levels: Levels) -> Grids:
    found = [_exact_step(np.unique(run), levels) for run in runs.to(torch.float32).numpy()]
    missing = sum(step is None for step in found)
    if missing:
        raise TersenetError(
            f"{missing} of {len(found)} runs of weights lie on no even grid of {levels.bits} bits; "
            "take another range than exact, more bits, or a step for each row"
        )
    step = torch.tensor([float(one) for one in found if one is not None], dtype=torch.float32)
    return levels.of_step(step, runs.amin(1))


def _exact_step(values: np.ndarray, levels: Levels) -> np.float32 | None:
    """The largest step of which all values are whole multiples in float32, within the levels; 1 for zeros alone.

    The value nearest to zero is k steps for some k up to the largest level; the largest value tells the step to its
    last bits.
    """
    sizes = np.abs(values[values != 0]).astype(np.float64)
    if not len(sizes):
        return np.float32(1)
    for k in _near_multiples(sizes, levels.span):
        times = np.round(sizes.max() * k / sizes.min())
        step = np.float32(sizes.max() / times)
        for nudged in (step, *(np.nextafter(step, np.float32(end)) for end in (0, np.inf))):
            level = np.round(values.astype(np.float64) / nudged)
            within = level.max() - min(level.min(), 0) <= levels.span
            if levels.symmetric:
                within = np.abs(level).max() <= levels.span // 2
            if within and (level.astype(np.float32) * nudged == values).all():
                return np.float32(nudged)
    return None


def _near_multiples(sizes: np.ndarray, most: int) -> Iterator[int]:
    """The k up to `most` for which all sizes are nearly whole multiples of the k-th part of the least."""
    ratios = sizes / sizes.min()
    # The least is mostly one step or a few: the many rows of a network then cost little each.
    for first, last in ((1, min(4, most)), (5, most)):
        places = ratios * np.arange(first, last + 1)[:, None]
        near = np.abs(places - np.round(places)) <= NEARLY_WHOLE * places
        yield from (first + int(k) for k in np.flatnonzero(near.all(1)))
