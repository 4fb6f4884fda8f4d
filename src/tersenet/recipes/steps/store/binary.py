"""One bit a weight, as a step."""

from __future__ import annotations

from functools import partial
from typing import Literal

from tersenet.forms import Binary
from tersenet.graph import Network, WeightedLayer
from tersenet.recipes.steps.base import Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.levels import Per, StoreLevels


class StoreBinary(StoreLevels):
    """-a or +a for each weight, one a for each row or for the tensor (Courbariaux et al. 2015; Rastegari et al. 2016)."""

    form: Literal["binary"]
    per: Per = "row"

    @classmethod
    def over_range(cls) -> tuple[StoreBinary, ...]:
        return (cls.model_validate({"form": "binary"}),)

    def label(self, stage: int) -> str:
        return "binary"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        return partial(Binary.fit, per=self.per)
