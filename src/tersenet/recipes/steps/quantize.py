"""Rounding without training, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.calibration import sample_batches, synthetic_batches
from tersenet.calibration.batches import checked_inputs
from tersenet.graph import Network, fold_batchnorm
from tersenet.methods.curvature import Outputs
from tersenet.methods.oneshot import Rounding, round_network
from tersenet.recipes.steps.base import Changed, Situation, Step
from tersenet.training.config import Augment


class Quantize(Step):
    """Round every weight once to an even grid, with error feedback and the price of its bits; nothing is trained.

    BatchNorm is folded first: its scale and shift take up what rounding does to each channel.
    """

    id: Literal["quantize"] = "quantize"
    quality: Annotated[float, Ge(0), Le(100)] = Field(50, description="20 more halve the steps: a bit a weight more")
    examples: Annotated[int, Ge(0)] = Field(512, description="inputs to calibrate on; 0 takes weights alone")
    inputs: Literal["training", "synthetic"] = Field(
        "training", description="synthetic: made to give BatchNorm its running statistics; no data is read"
    )
    batch_size: Annotated[int, Ge(2)] = 128
    augment: Augment = Field("none", description="moves of these inputs; as in training they say more of others")
    rate_weight: Annotated[float, Ge(0)] = Field(0.03, description="price of a bit, in squared steps")
    damping: Annotated[float, Gt(0)] = Field(0.03, description="added to second moments, of their mean diagonal")
    vector_bits: Annotated[int, Ge(2), Le(16)] = Field(8, description="of scales, shifts and biases")
    dct: bool = Field(True, description="kernels of convolutions are rounded in their frequencies")
    uneven: bool = Field(True, description="columns or rows have steps of their own where these are worth their bytes")
    trellis: Literal[0, 4, 8, 16, 32, 64, 128, 256] = Field(
        0, description="states of a trellis that each column's integers go through; pays with the coder range alone"
    )
    outputs: Outputs = Field("classes", description="what the network answers: scores of classes, or values")

    @model_validator(mode="after")
    def _made_or_moved(self) -> Quantize:
        if self.inputs == "synthetic" and (self.augment != "none" or not self.examples):
            raise ValueError(
                "synthetic inputs are not moved, and examples says how many are made; drop augment or inputs"
            )
        return self

    @property
    def needs_data(self) -> bool:
        return (self.examples > 0 and self.inputs == "training") or super().needs_data

    def under(self, coder: str) -> Quantize:
        return self if coder == "range" or not self.trellis else self.model_copy(update={"trellis": 0})

    def change(self, network: Network, at: Situation) -> Changed:
        batches = self._batches(network, at)
        network = fold_batchnorm(network)
        chosen = ("quality", "rate_weight", "damping", "vector_bits", "dct", "uneven", "trellis")
        rounding = Rounding(**{name: getattr(self, name) for name in chosen})
        round_network(network, batches, rounding, outputs=self.outputs)
        return network, []

    def _batches(self, network: Network, at: Situation) -> list[tuple[Tensor, ...]] | None:
        if not self.examples:
            return None
        if self.inputs == "synthetic":
            return synthetic_batches(network, self.examples, self.batch_size, at.seed)
        sampled = sample_batches(at.train, self.examples, self.batch_size, at.seed, augment=self.augment)
        # The labels that a batch ends with stay unread.
        return list(checked_inputs(network, sampled))

    def at_quality(self, quality: float) -> Quantize:
        return self.model_copy(update={"quality": quality})

    def gentler(self) -> Quantize | None:
        if self.quality >= 100:
            return None
        return self.model_copy(update={"quality": min(self.quality + 5, 100)})
