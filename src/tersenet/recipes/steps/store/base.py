"""What the steps share that put a form in place of weights, one file a form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

from torch import Tensor

from tersenet.forms import Form
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import select_layers
from tersenet.methods.share import attach_values
from tersenet.recipes.steps.base import Changed, Situation, Step

Fit = Callable[[Tensor], Form]
"""From the weight, or from the vector of those that are not zero where some are, to what stands for them."""


class StoreStep(Step):
    """Store the weights matched by `where` in a form, then train what the form leaves free. Zeros that are there stay."""

    id: Literal["store"] = "store"
    where: str = "*"

    @classmethod
    def over_range(cls) -> tuple[StoreStep, ...]:
        """Steps of this form from its fewest bits to its most: the points of a curve of size against accuracy."""
        return ()

    @abstractmethod
    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        """How the form of one layer is made; what a user should know of it goes to `notes`."""

    def change(self, network: Network, at: Situation) -> Changed:
        notes: list[str] = []
        for layer in select_layers(network, self.where):
            attach_values(network, layer.weight, self.fit(layer, network, at, notes))
        return network, notes
