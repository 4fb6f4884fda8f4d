"""Dead neurons leave, as a step."""

from __future__ import annotations

from typing import Literal

from tersenet.graph import Network
from tersenet.methods.dead import lost_units, remove_dead_units
from tersenet.recipes.steps.base import Changed, Situation, Step


class RemoveDead(Step):
    """Remove neurons and channels that pruning left without inputs or without readers (Han et al. 2015, section 3.5)."""

    id: Literal["remove_dead"] = "remove_dead"

    def label(self, stage: int) -> str:
        return "remove dead"

    def change(self, network: Network, at: Situation) -> Changed:
        smaller = remove_dead_units(network)
        return smaller, lost_units(network, smaller) or ["every neuron and channel is in use; none was removed"]
