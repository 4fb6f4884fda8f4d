"""Which weights stay, by their scores: the best ones, n of every m neighbours, or whole blocks.

A weight is a matrix here, its first axis against all others (`weight.flatten(1)`): the outputs of a linear layer or a
convolution against what each output reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from tersenet.errors import TersenetError


@dataclass(frozen=True)
class Neighbours:
    """At most n of every m consecutive weights of a row stay (Mishra et al. 2021, arXiv:2104.08378, section 2).

    The last group of a row is shorter where m does not divide it; at most n of it stay too.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise TersenetError(f"the pattern {self} keeps {self.n} of {self.m}; expected 1 to m - 1 of m")

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"


@dataclass(frozen=True)
class Blocks:
    """Blocks of rows x columns stay or go whole; those at the edge are smaller where the matrix does not divide."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or self.rows * self.columns == 1:
            raise TersenetError(f"blocks of {self}; expected two weights or more in a block")

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


Pattern = Neighbours | Blocks


def parse_pattern(text: str) -> Pattern:
    """The pattern that "2:4" or "4x1" names."""
    found = re.fullmatch(r"(\d{1,9})([:x])(\d{1,9})", text.strip())
    if found is None:
        raise TersenetError(f"'{text}' is not a pattern; write 2:4 for two of four neighbours, or 4x1 for blocks")
    first, second = int(found[1]), int(found[3])
    return Neighbours(first, second) if found[2] == ":" else Blocks(first, second)


def pattern_mask(
    scores: Shaped[Tensor, "..."], pattern: Pattern | None = None, keep: float | None = None
) -> Bool[Tensor, "..."]:
    """True for the weights that stay: those with the largest scores that `pattern` and `keep` leave room for.

    scores   one for each weight, of any kind of number but NaN; magnitudes of weights, or what their loss would cost
    keep     the share of weights, or of blocks, that stays, rounded, at least one; Neighbours have their own

    Blocks compare by the L2 norm of their scores, those at the edge by what it is for each weight of them. Ties keep
    the first. Raises TersenetError for a share outside (0, 1] and for scores of NaN.
    """
    if isinstance(pattern, Neighbours):
        if keep is not None:
            raise TersenetError(f"the pattern {pattern} says how many weights stay; drop keep")
        return _neighbours(no_nan(scores), pattern)
    units = _units(scores, pattern)
    return _spread(_largest(units, keep), scores.shape, pattern)


def joint_mask(
    scores: Mapping[str, Tensor], keep: float, pattern: Blocks | None = None
) -> dict[str, Bool[Tensor, "..."]]:
    """`pattern_mask` with one threshold for all weights together, such that the share `keep` of them stays."""
    units = {name: _units(one, pattern) for name, one in scores.items()}
    stays = _largest(torch.cat(list(units.values())), keep)
    parts = torch.split(stays, [len(one) for one in units.values()])
    return {name: _spread(part, scores[name].shape, pattern) for name, part in zip(units, parts)}


def no_nan(scores: Tensor) -> Tensor:
    """The scores, if all of them are numbers."""
    missing = int(scores.isnan().sum())
    if missing:
        raise TersenetError(
            f"{missing} of {scores.numel()} scores are NaN; repair the network, or train it at a lower rate"
        )
    return scores


def _largest(scores: Tensor, keep: float | None) -> Tensor:
    """True for the share `keep` of the scores, one-dimensional, that is largest."""
    if keep is None or not 0 < keep <= 1:
        raise TersenetError(f"a keep-fraction of {keep}; expected more than 0 and at most 1")
    count = max(round(keep * len(scores)), 1)
    # A selection is seven times faster than the stable sort that gives the same.
    least = torch.kthvalue(scores, len(scores) - count + 1).values
    above, equal = scores > least, scores == least
    return above | (equal & (equal.cumsum(0) <= count - above.sum()))


def _neighbours(scores: Tensor, pattern: Neighbours) -> Tensor:
    rows = scores.reshape(len(scores), -1)
    columns = rows.shape[1]
    short = -columns % pattern.m
    padded = torch.nn.functional.pad(rows.double(), (0, short), value=-torch.inf)
    groups = padded.reshape(-1, pattern.m)
    best = torch.sort(groups, dim=1, descending=True, stable=True).indices[:, : pattern.n]
    stays = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, best, True)
    return stays.reshape(len(rows), columns + short)[:, :columns].reshape(scores.shape)


def _units(scores: Tensor, pattern: Blocks | None) -> Tensor:
    """One score for each thing that stays or goes, one-dimensional: a weight, or a block."""
    scores = no_nan(scores)
    if pattern is None:
        return scores.reshape(-1)
    squares = scores.reshape(len(scores), -1).double().square()
    sums, sizes = (_block_sums(one, pattern) for one in (squares, torch.ones_like(squares)))
    return (sums / sizes).reshape(-1)


def _block_sums(matrix: Tensor, pattern: Blocks) -> Tensor:
    rows, columns = matrix.shape
    padded = torch.nn.functional.pad(matrix, (0, -columns % pattern.columns, 0, -rows % pattern.rows))
    down, across = _blocks(matrix.shape, pattern)
    return padded.reshape(down, pattern.rows, across, pattern.columns).sum((1, 3))


def _blocks(shape: torch.Size, pattern: Blocks) -> tuple[int, int]:
    return -(-shape[0] // pattern.rows), -(-shape[1] // pattern.columns)


def _spread(stays: Tensor, shape: torch.Size, pattern: Blocks | None) -> Tensor:
    """What stays of the units as a mask of the weights."""
    if pattern is None:
        return stays.reshape(shape)
    matrix = torch.Size((shape[0], shape[1:].numel()))
    blocks = stays.reshape(_blocks(matrix, pattern))
    whole = blocks.repeat_interleave(pattern.rows, 0).repeat_interleave(pattern.columns, 1)
    return whole[: matrix[0], : matrix[1]].reshape(shape)
