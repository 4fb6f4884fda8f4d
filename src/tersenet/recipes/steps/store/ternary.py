"""Signs and zeros, as a step."""

from __future__ import annotations

from functools import partial
from typing import Literal

from tersenet.forms import Ternary
from tersenet.graph import Network, WeightedLayer
from tersenet.recipes.steps.base import Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.levels import Per, StoreLevels


class StoreTernary(StoreLevels):
    """-a, 0 or +a for each weight, one a for each row or for the tensor (Li et al. 2016)."""

    form: Literal["ternary"]
    per: Per = "row"
    threshold: Literal["mean", "least_squares"] = "least_squares"

    @classmethod
    def over_range(cls) -> tuple[StoreTernary, ...]:
        return (cls.model_validate({"form": "ternary"}),)

    def label(self, stage: int) -> str:
        return "ternary"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        return partial(Ternary.fit, per=self.per, threshold=self.threshold)
