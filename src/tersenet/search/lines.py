"""Ways to compress a network, each over its range: the forms, and the lines of Deep Compression's figure.

After Gong et al. 2014, arXiv:1412.6115, figures 1 to 3, and Han et al. 2016, arXiv:1510.00149, figure 6: pruning alone,
sharing alone, both, and SVD.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tersenet.errors import TersenetError
from tersenet.recipes.steps import Prune, Step, StoreCodebook
from tersenet.recipes.steps.low_rank import LowRank
from tersenet.recipes.steps.round import Round
from tersenet.recipes.steps.store import store_steps
from tersenet.recipes.steps.tucker2 import Tucker2Step
from tersenet.search.order import coarse_first
from tersenet.training import TrainConfig

KEPT = (0.7, 0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03)
# Of the shared values where pruning and sharing go together. The paper has 5 in fully connected layers and 8 in others; in a
# network with little to spare, half of the weights with 5 take as many bytes, places included, as all of them with 3.
SHARED_BITS = (5, 3)
PRUNE, BOTH = "prune", "prune + codebook"


@dataclass(frozen=True)
class Amount:
    """One point of a line: what is done, and what to call it."""

    line: str
    name: str
    steps: tuple[Step, ...]


def known_lines() -> tuple[str, ...]:
    """The names that can be asked for."""
    return (*(name for name, step in store_steps().items() if step.over_range()), PRUNE, BOTH, *_factorised())


def check_lines(names: Sequence[str]) -> None:
    known = known_lines()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.4)
            hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise TersenetError(f"form '{name}' is not there; {hint}")
    if not names:
        raise TersenetError(f"no form to compare; there are {', '.join(known)}")


def amounts(
    names: Sequence[str], *, where: str, calibrate: int, train: TrainConfig | None, most: int | None
) -> dict[str, list[Amount]]:
    """The points of each line, the middle of its range first; at most so many."""
    found = {}
    for name in names:
        steps = _range_of(name)
        labels = _labels(steps)
        order = coarse_first(range(len(steps)))[:most]
        found[name] = [
            Amount(
                name, labels[i], (*(_set(one, where, calibrate, train) for one in steps[i]), Round.model_validate({}))
            )
            for i in order
        ]
    return found


def _range_of(name: str) -> list[tuple[Step, ...]]:
    if name in store_steps():
        return [(step,) for step in store_steps()[name].over_range()]
    if name == PRUNE:
        return [(_prune(keep),) for keep in KEPT]
    if name == BOTH:
        return [(_prune(keep), StoreCodebook.model_validate({"bits": bits})) for keep in KEPT for bits in SHARED_BITS]
    return [(step,) for step in _factorised()[name]]


def _prune(keep: float) -> Step:
    return Prune.model_validate({"keep": keep})


def _factorised() -> dict[str, list[Step]]:
    return {
        "low_rank": [LowRank.model_validate({"keep": keep}) for keep in (0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05)],
        "tucker2": [Tucker2Step.model_validate({"energy": energy}) for energy in (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)],
    }


def _set(step: Step, where: str, calibrate: int, train: TrainConfig | None) -> Step:
    """The step for these layers, with calibration where it knows it, and with training."""
    given: dict[str, Any] = step.model_dump() | {"where": where, "train": train}
    if calibrate and "calibrate" in given:
        given["calibrate"] = calibrate
    return type(step).model_validate(given)


def _labels(points: Sequence[Sequence[Step]]) -> list[str]:
    """What tells the points of a line apart: the settings that are not the same in all."""
    said = [
        {key: value for step in steps for key, value in step.model_dump(mode="json").items() if value is not None}
        for steps in points
    ]
    differ = [key for key in said[0] if len({str(one.get(key)) for one in said}) > 1]
    return [", ".join(f"{key} {one[key]}" for key in differ if key in one) or "as it is" for one in said]


__all__ = ["KEPT", "Amount", "amounts", "check_lines", "known_lines"]
