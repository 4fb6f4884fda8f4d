"""Plain numbers, as a step."""

from __future__ import annotations

from functools import partial
from typing import Literal

from tersenet.forms import Dense
from tersenet.graph import Network, WeightedLayer
from tersenet.recipes.steps.base import Situation
from tersenet.recipes.steps.store.base import Fit, StoreStep


class StoreDense(StoreStep):
    """Every weight for itself, as a number of `dtype`."""

    form: Literal["dense"]
    dtype: Literal["float32", "float16"] = "float32"

    @classmethod
    def over_range(cls) -> tuple[StoreDense, ...]:
        return tuple(cls.model_validate({"form": "dense", "dtype": dtype}) for dtype in ("float16", "float32"))

    def label(self, stage: int) -> str:
        return f"store {self.dtype}"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        return partial(Dense.fit, dtype=self.dtype)
