"""Shared values, as a step."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from tersenet.forms import Codebook, Form
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import setting
from tersenet.recipes.steps.base import Bits, Setting, Situation
from tersenet.recipes.steps.store.base import Fit, StoreStep


class StoreCodebook(StoreStep):
    """At most 2**bits shared values a layer (Han et al. 2016, section 3)."""

    form: Literal["codebook"] = "codebook"
    bits: Bits | dict[str, Bits] = 5
    init: Literal["forgy", "density", "linear", "optimum"] = "linear"
    dtype: Literal["float32", "float16"] = Field("float32", description="of the shared values")

    @classmethod
    def over_range(cls) -> tuple[StoreCodebook, ...]:
        """From the most bits to the fewest."""
        return tuple(cls.model_validate({"bits": bits}) for bits in (8, 7, 6, 5, 4, 3, 2, 1))

    def label(self, stage: int) -> str:
        return "share"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        k = 2 ** setting(self.bits, layer, network, "bits")

        def fit(weight: Tensor) -> Form:
            made = Codebook.fit(weight, k=k, init=self.init, table=self.dtype, seed=at.seed)
            if made.k < k:
                notes.append(
                    f"{layer.weight}: {made.k} distinct weights are left, so the codebook has {made.k} values, not {k}"
                )
            return made

        return fit

    def with_table(self, setting: Setting, table: dict[str, Any]) -> StoreCodebook | None:
        return StoreCodebook(**self.model_dump() | {"bits": table}) if setting == "bits" else None

    def gentler(self) -> StoreCodebook | None:
        bits = {"*": self.bits} if isinstance(self.bits, int) else self.bits
        if all(width >= 8 for width in bits.values()):
            return None
        return self.model_copy(update={"bits": {pattern: min(width + 1, 16) for pattern, width in bits.items()}})
