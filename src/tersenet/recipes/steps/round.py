"""Half precision for what is not a layer's weight, as a step."""

from __future__ import annotations

from typing import Literal

from tersenet.graph import Network
from tersenet.methods.round import round_others
from tersenet.recipes.steps.base import Changed, Situation, Step


class Round(Step):
    """Round what is not a layer's weight (biases, normalisation, running statistics) to float16; the last step."""

    id: Literal["round"] = "round"

    def change(self, network: Network, at: Situation) -> Changed:
        round_others(network)
        return network, []
