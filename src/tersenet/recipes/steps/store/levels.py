"""What the steps share that give each weight one of a few even levels."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import Field, model_validator

from tersenet.errors import TersenetError
from tersenet.forms import Latent
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.latent import attach_whole, settle
from tersenet.methods.select import select_layers
from tersenet.recipes.steps.base import Changed, Situation
from tersenet.recipes.steps.store.base import Fit, StoreStep

Per = Literal["tensor", "row"]


class StoreLevels(StoreStep):
    """Each weight matched by `where` one of a few levels, times a scale.

    In training, with `latent`, dense weights learn and their levels count (straight-through), and the levels are what
    is left; otherwise levels are chosen once and their scales train. Zeros of pruned weights stay; one scale then
    serves all that are kept.
    """

    latent: bool | None = Field(
        None, description="dense weights learn while their levels count; the form's own default"
    )

    @model_validator(mode="after")
    def _latent_weights_learn(self) -> StoreLevels:
        if self.latent and not self.needs_data:
            raise ValueError("latent weights are for training; give train, with epochs, or drop latent")
        return self

    @property
    def learns_latently(self) -> bool:
        """Whether dense weights learn; by default wherever there is training."""
        return self.needs_data if self.latent is None else self.latent

    def learning(self, layer: WeightedLayer, network: Network, fit: Fit) -> Fit:
        """How latent weights are made whose form is what `fit` makes."""
        return partial(Latent.fit, fit=fit)

    def change(self, network: Network, at: Situation) -> Changed:
        notes: list[str] = []
        for layer in select_layers(network, self.where):
            weight = network.dense(layer.weight)
            if weight.numel() > 1 and bool((weight == weight.flatten()[0]).all()):
                raise TersenetError(
                    f"every weight of '{layer.weight}' is {float(weight.flatten()[0]):g}, so there is nothing to round; "
                    "leave the layer out by where, or repair the network"
                )
            fit = self.fit(layer, network, at, notes)
            attach_whole(network, layer.weight, self.learning(layer, network, fit) if self.learns_latently else fit)
        return network, notes

    def settle(self, network: Network, at: Situation) -> Changed:
        settle(network)
        return network, []
