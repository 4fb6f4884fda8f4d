"""Whole numbers times powers of two, as a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt
from pydantic import Field, model_validator
from torch import nn

from tersenet.forms import FixedPoint
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.fixed_point import MOST_OVERFLOW, Widths, adapt, common_exponent, train_in_fixed_point
from tersenet.methods.select import select_layers, setting
from tersenet.recipes.steps.base import Changed, Setting, Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.levels import StoreLevels, check_varied
from tersenet.training import AfterStep

PointBits = Annotated[int, Ge(2), Le(16)]


class StoreFixedPoint(StoreLevels):
    """A signed mantissa of `bits` bits times 2^exponent for each weight (Courbariaux et al. 2014).

    One exponent serves all layers. With `dynamic` each layer has its own, and in training it follows the weights; so
    do those of `inputs` and `gradients`, numbers that are rounded in training alone: the file holds weights.
    """

    form: Literal["fixed_point"]
    bits: PointBits | dict[str, PointBits] = 8
    dynamic: bool = Field(False, description="an exponent for each layer and kind of number, adapted in training")
    exponent: Annotated[int, Ge(-126), Le(110)] | None = Field(
        None, description="of everything, not dynamic; by default the least that reaches the largest weight"
    )
    inputs: PointBits | None = Field(None, description="bits of what the layers read while training; float by default")
    gradients: PointBits | None = Field(None, description="bits of the gradients of their outputs; float by default")
    overflow: Annotated[float, Ge(0), Lt(1)] = Field(
        MOST_OVERFLOW, description="dynamic: the range doubles where a larger share of the numbers overflows"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> StoreFixedPoint:
        if self.dynamic and self.exponent is not None:
            raise ValueError("dynamic exponents are found for each layer; drop exponent, or dynamic")
        if not self.learns_latently and (self.inputs or self.gradients):
            raise ValueError("inputs and gradients are rounded in training; give train, with epochs, or drop them")
        return self

    @classmethod
    def over_range(cls) -> tuple[StoreFixedPoint, ...]:
        return tuple(
            cls.model_validate({"form": "fixed_point", "bits": bits, "dynamic": True}) for bits in range(2, 17)
        )

    def label(self, stage: int) -> str:
        return "dynamic fixed point" if self.dynamic else "fixed point"

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        return partial(FixedPoint.fit, bits=setting(self.bits, layer, network, "bits"), exponent=self._fixed(network))

    def change(self, network: Network, at: Situation) -> Changed:
        if not self.learns_latently:
            return super().change(network, at)
        layers = select_layers(network, self.where)
        check_varied(network, layers)
        bits = self._bits(network, layers)
        widths = [Widths(weights=one, inputs=self.inputs, gradients=self.gradients) for one in bits]
        train_in_fixed_point(network, layers, widths, dynamic=self.dynamic, exponent=self.exponent)
        return network, []

    def _bits(self, network: Network, layers: Sequence[WeightedLayer]) -> list[int]:
        return [setting(self.bits, layer, network, "bits") for layer in layers]

    def _fixed(self, network: Network) -> int | None:
        """The exponent of everything, or None where each layer has its own."""
        if self.dynamic or self.exponent is not None:
            return self.exponent
        layers = select_layers(network, self.where)
        return common_exponent(network, layers, self._bits(network, layers))

    def after_step(self, at: Situation) -> AfterStep | None:
        def follow(network: nn.Module, done: float) -> None:
            adapt(network, self.overflow)

        return follow if self.dynamic and self.learns_latently else None

    def settle(self, network: Network, at: Situation) -> Changed:
        network.put_around({})
        return super().settle(network, at)

    def with_table(self, setting: Setting, table: dict[str, Any]) -> StoreFixedPoint | None:
        return StoreFixedPoint(**self.model_dump() | {"bits": table}) if setting == "bits" else None

    def gentler(self) -> StoreFixedPoint | None:
        bits = {"*": self.bits} if isinstance(self.bits, int) else self.bits
        if all(width >= 16 for width in bits.values()):
            return None
        return self.model_copy(update={"bits": {pattern: min(width + 1, 16) for pattern, width in bits.items()}})
