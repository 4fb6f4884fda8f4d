"""Static ranges for what layers multiply, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field

from tersenet.calibration import sample_batches
from tersenet.graph import Network
from tersenet.methods.activations import round_activations
from tersenet.recipes.steps.base import Changed, Situation, Step


class Activations(Step):
    """Round what layers read to integers on a grid that a few training inputs fix; then train, if it is to.

    Part of the network from then on: PyTorch and the runtime round alike, and with `activations="int8"` the runtime
    multiplies these integers.
    """

    id: Literal["activations"] = "activations"
    where: str = "*"
    bits: Annotated[int, Ge(2), Le(8)] = 8
    examples: Annotated[int, Ge(2)] = Field(256, description="training inputs that the ranges come from; labels unread")
    percentile: Annotated[float, Gt(50), Le(100)] = Field(
        100.0, description="of magnitudes that lie inside the range; 100: from end to end"
    )
    batch_size: Annotated[int, Ge(1)] = 64

    @property
    def needs_data(self) -> bool:
        return True

    def change(self, network: Network, at: Situation) -> Changed:
        batches = sample_batches(at.train, self.examples, self.batch_size, at.seed)
        return round_activations(network, self.where, batches, bits=self.bits, percentile=self.percentile)
