"""Global average pooling in place of a fully connected head, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field

from tersenet.calibration import sample_batches
from tersenet.graph import Network
from tersenet.methods.distill import Teacher
from tersenet.methods.gap import replace_head
from tersenet.recipes.steps.base import Changed, Situation, Step


class GlobalAveragePooling(Step):
    """A 1x1 convolution to one map a class, and the mean of each map, in place of the fully connected layers; then train.

    The old network teaches unless `teacher` is null. Pictures of other sizes run afterwards.
    """

    id: Literal["gap"] = "gap"
    where: str = Field("*", description="names every fully connected layer of the head")
    examples: Annotated[int, Ge(0)] = Field(
        2048, description="at most this many training inputs, to whose answers the new head is fitted before it trains"
    )
    batch_size: Annotated[int, Ge(1)] = 128
    hidden: Annotated[int, Ge(0)] = Field(
        0, description="outputs of a further 1x1 convolution with a ReLU before the last one; 0: none"
    )
    teacher: Teacher | None = Field(Teacher(), description="the network the run began with teaches; null: labels alone")

    def change(self, network: Network, at: Situation) -> Changed:
        looks = self.examples and at.train is not None
        batches = sample_batches(at.train, self.examples, self.batch_size, at.seed) if looks else None
        return replace_head(network, self.where, batches, hidden=self.hidden, seed=at.seed)
