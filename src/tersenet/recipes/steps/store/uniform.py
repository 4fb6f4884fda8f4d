"""Integers times a step, as a step."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Le

from tersenet.forms import Uniform
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import setting
from tersenet.recipes.steps.base import Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.levels import Per, StoreLevels

UniformBits = Annotated[int, Ge(2), Le(8)]


class StoreUniform(StoreLevels):
    """An integer of `bits` bits times a step, one for each row or for the tensor (Jacob et al. 2018)."""

    form: Literal["uniform"]
    bits: UniformBits | dict[str, UniformBits] = 8
    per: Per = "row"

    def label(self, stage: int) -> str:
        return "uniform"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        return partial(Uniform.fit, bits=setting(self.bits, layer, network, "bits"), per=self.per)
