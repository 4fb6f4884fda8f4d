"""What steps share that estimate BatchNorm's running statistics anew."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from pydantic import Field, model_validator

from tersenet.calibration import recalibrate_batchnorm, sample_batches
from tersenet.graph import Network
from tersenet.recipes.steps.base import Situation, Step
from tersenet.training.config import Augment


class EstimatesBatchNorm(Step):
    """From training inputs, moved as those are that the network trains on: statistics of plain ones are others."""

    examples: Annotated[int, Ge(0)] = Field(2048, description="at most this many training inputs; labels are not used")
    batch_size: Annotated[int, Ge(2)] = 128
    augment: Augment | None = Field(
        None, description="moves of the inputs that BatchNorm is estimated from; those of `train` unless given"
    )
    augment_pixels: Annotated[int, Ge(1)] | None = Field(None, description="how far; as in `train`")

    @model_validator(mode="after")
    def _moves(self) -> EstimatesBatchNorm:
        if self.augment_pixels is not None and self.augment in (None, "none"):
            raise ValueError("augment_pixels is given but augment is not; choose how inputs move, or drop it")
        return self

    def estimate_batchnorm(self, network: Network, at: Situation) -> int:
        """The number of layers whose running statistics were set."""
        of = self if self.augment is not None else self.train_config(at.stage)
        augment, pixels = (of.augment, of.augment_pixels) if of is not None else ("none", None)
        batches = sample_batches(
            at.train, self.examples, self.batch_size, at.seed, augment=augment or "none", augment_pixels=pixels
        )
        return recalibrate_batchnorm(network, batches)
