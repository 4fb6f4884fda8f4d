"""BatchNorm set right, or folded, as steps."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field

from tersenet.graph import Network, fold_batchnorm
from tersenet.recipes.steps._statistics import EstimatesBatchNorm
from tersenet.recipes.steps.base import Changed, Situation, Step


class CorrectBatchNorm(EstimatesBatchNorm):
    """Estimate BatchNorm's running statistics anew from training inputs: after a change that is not trained after."""

    id: Literal["batchnorm"] = "batchnorm"
    examples: Annotated[int, Ge(2)] = Field(2048, description="at most this many inputs; labels are not used")

    @property
    def needs_data(self) -> bool:
        return True

    def change(self, network: Network, at: Situation) -> Changed:
        if not self.estimate_batchnorm(network, at):
            return network, ["the network has no BatchNorm with running statistics; nothing was corrected"]
        return network, []


class FoldBatchNorm(Step):
    """BatchNorm becomes one scale and one shift a channel: half its bytes. It trains on with fixed statistics only."""

    id: Literal["fold_batchnorm"] = "fold_batchnorm"

    def label(self, stage: int) -> str:
        return "fold BatchNorm"

    def change(self, network: Network, at: Situation) -> Changed:
        folded = fold_batchnorm(network)
        if folded.graph == network.graph:
            return network, ["the network has no BatchNorm with running statistics; nothing was folded"]
        return folded, []
