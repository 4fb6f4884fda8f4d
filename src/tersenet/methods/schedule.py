"""How masks change while a network trains: ever fewer weights, or weights that go and come back.

READ FIRST
  1. What is done follows from the share of the training that is done, the masks and the weights: nothing else is
     carried along, so that a training can be stopped and gone on with.
  2. A Rule says which weights stay, given scores; the schedules say when, how many, and what is scored.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.forms import Masked
from tersenet.graph import Network
from tersenet.methods.prune import Rule

# 0.3 / 0.1 is a little less than 3.
SLACK = 1e-9
# A weight goes below the first and comes back above the second times one threshold, as in the authors' code.
LOWER, UPPER = 0.9, 1.1
# 14,000 steps times 0.0001.
DECAY = 1.4


@dataclass(frozen=True, kw_only=True)
class Cubic:
    """Quick at first, while there is much to spare, and slower and slower (Zhu and Gupta 2017, arXiv:1710.01878, eq. 1).

    begin, end   when the first and the last weights go, as shares of the training
    frequency    the share of the training between two cuts
    """

    begin: float = 0.0
    end: float = 0.75
    frequency: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end <= 1:
            raise TersenetError(
                f"pruning from {self.begin} to {self.end} of a training; expected 0 <= begin < end <= 1"
            )
        if not 0 < self.frequency <= self.end - self.begin:
            raise TersenetError(
                f"a cut every {self.frequency} of a training between {self.begin} and {self.end}; "
                f"expected more than 0 and at most {self.end - self.begin:g}"
            )

    def latest(self, done: float) -> float:
        """When the last cut at or before `done` was due; `begin` if none was."""
        if done >= self.end - SLACK:
            return self.end
        return self.begin + max(math.floor((done - self.begin) / self.frequency + SLACK), 0) * self.frequency

    def keep(self, at: float, final: float) -> float:
        """The share of the weights that stays from `at` on: 1 at `begin`, exactly `final` at `end`."""
        left = (self.end - min(max(at, self.begin), self.end)) / (self.end - self.begin)
        return min(final + (1 - final) * left**3, 1.0)


@dataclass(frozen=True, kw_only=True)
class Surgery:
    """Masks are made anew with a probability that falls (Guo et al. 2016, arXiv:1608.04493, algorithm 1).

    end   the share of the training after which masks stay as they are

    The probability is that of the authors' example for LeNet-5: in step i 1 / (1 + 0.0001 i), and 0 from step 14,000 on.
    """

    end: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.end <= 1:
            raise TersenetError(f"surgery until {self.end} of a training; expected more than 0 and at most 1")

    def probability(self, done: float) -> float:
        return 1 / (1 + DECAY * done / self.end) if done < self.end else 0.0

    def is_due(self, done: float, seed: int) -> bool:
        """Drawn from the seed and `done` alone."""
        return random.Random(f"{seed} {done!r}").random() < self.probability(done)

    def scores(self, weight: Tensor, mask: Tensor) -> Tensor:
        """|w| over 0.9 for weights that count and over 1.1 for those that are cut: one threshold on these is two on
        |w|, between which nothing changes (eq. 3).
        """
        return weight.detach().abs() / torch.where(mask, LOWER, UPPER)


def masked_forms(network: Network) -> dict[str, Masked]:
    """The weights that a schedule is at work on, by name."""
    return {name: form for name, form in network.forms().items() if isinstance(form, Masked)}


def cut_gradually(network: Network, rule: Rule, cubic: Cubic, done: float) -> None:
    """Cut what is due by now and was not cut yet; what is cut stays so."""
    at = cubic.latest(done)
    if all(float(part.made_at) >= at for part in network.modules() if isinstance(part, Masked)):
        return
    forms = masked_forms(network)
    scores = {name: form().detach().abs() for name, form in forms.items()}
    masks = rule.masks(network, scores, lambda keep: cubic.keep(at, keep))
    remask(forms, {name: mask & forms[name].mask for name, mask in masks.items()}, at)


def operate(network: Network, rule: Rule, surgery: Surgery, done: float, seed: int) -> None:
    """Make the masks anew, if the draw says so; weights that have grown come back."""
    if surgery.is_due(done, seed):
        forms = masked_forms(network)
        scores = {name: surgery.scores(form.values, form.mask) for name, form in forms.items()}
        remask(forms, rule.masks(network, scores), done)


def remask(forms: Mapping[str, Masked], masks: Mapping[str, Tensor], at: float) -> None:
    """Give each form its mask. One that leaves nothing is refused, before any changes."""
    for name, mask in masks.items():
        if not bool(mask.any()):
            raise TersenetError(f"pruning leaves nothing of '{name}'; keep more of it or exclude it")
    for name, mask in masks.items():
        forms[name].remask(mask, at)
