"""What the steps share that prune by second derivatives of training inputs; labels are not used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.calibration import sample_batches
from tersenet.calibration.batches import checked_inputs
from tersenet.errors import TersenetError
from tersenet.graph import Network, WeightedLayer
from tersenet.methods._meetings import GEMM
from tersenet.methods.curvature import Outputs
from tersenet.methods.select import select_layers, setting
from tersenet.recipes.steps.base import Keep, Setting, Situation, Step


class SecondOrder(Step):
    """`keep` is the fraction that stays: of all layers together, by one threshold, or of each layer by itself."""

    where: str = "*"
    keep: Keep | dict[str, Keep] | None = None
    scope: Literal["layer", "global"] | None = Field(None, description="global, or layer where keep is a table")
    examples: Annotated[int, Ge(2)] = Field(1000, description="training inputs to look at; labels are not used")
    batch_size: Annotated[int, Ge(2)] = 125
    outputs: Outputs = Field("classes", description="what the network answers: scores of classes, or values")

    @model_validator(mode="after")
    def _one_threshold(self) -> SecondOrder:
        if self.scope == "global" and isinstance(self.keep, dict):
            raise ValueError("scope global takes one keep-fraction for all layers together")
        return self

    @property
    def needs_data(self) -> bool:
        return True

    def with_table(self, setting: Setting, table: dict[str, Any]) -> SecondOrder | None:
        if setting != "keep":
            return None
        return type(self)(**self.model_dump() | {"keep": table, "scope": None})

    def _layers(self, network: Network) -> tuple[list[WeightedLayer], list[str]]:
        """Those that are a matrix times rows of their input, and a sentence on each that is not."""
        chosen = select_layers(network, self.where)
        others = [layer for layer in chosen if layer.op not in GEMM]
        if len(others) == len(chosen):
            raise TersenetError(f"'{self.where}' names no linear, conv1d or conv2d, which {self.label(0)} is for")
        notes = [f"{layer.weight}: left as it is; {self.label(0)} knows no {layer.op}" for layer in others]
        return [layer for layer in chosen if layer.op in GEMM], notes

    def _keep(self, network: Network, layers: list[WeightedLayer], root: float = 1.0) -> float | dict[str, float]:
        """One fraction for all layers together, or one for each weight."""
        assert self.keep is not None
        if isinstance(self.keep, float) and self.scope != "layer":
            return self.keep**root
        return {layer.weight: setting(self.keep, layer, network, "keep") ** root for layer in layers}

    def _inputs(self, network: Network, at: Situation) -> list[tuple[Tensor, ...]]:
        return list(checked_inputs(network, sample_batches(at.train, self.examples, self.batch_size, at.seed)))
