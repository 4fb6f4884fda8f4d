"""What the steps share that give each weight one of a few even levels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field, model_validator

from tersenet.errors import TersenetError
from tersenet.forms import Latent
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.latent import attach_whole, settle
from tersenet.methods.select import select_layers
from tersenet.recipes.steps.base import Changed, Situation
from tersenet.recipes.steps.store.base import Fit, StoreStep

Per = Literal["tensor", "row"] | Annotated[int, Ge(2)]


class StoreLevels(StoreStep):
    """Each weight matched by `where` one of a few levels, times a scale.

    In training, with `latent`, dense weights learn and their levels count (straight-through), and the levels are what
    is left; otherwise levels are chosen once and their scales train. Zeros of pruned weights stay; one scale then
    serves all that are kept.
    """

    keeps_zeros: ClassVar[bool] = False
    latent: bool | None = Field(
        None, description="dense weights learn while their levels count; by default in every training without calibrate"
    )

    @model_validator(mode="after")
    def _latent_weights_learn(self) -> StoreLevels:
        if self.latent and not self._trains:
            raise ValueError("latent weights are for training; give train, with epochs, or drop latent")
        if self.latent and self.calibrate:
            raise ValueError("calibrate chooses levels once, latent weights choose them in training; drop one of them")
        if self.learns_latently and self.train is not None and self.train.regularise.polarise:
            raise ValueError(
                "polarise drives dense weights to levels that they are rounded to in the end; put it into a step train "
                "before this one, or drop it"
            )
        return self

    @property
    def learns_latently(self) -> bool:
        """Whether dense weights learn; by default wherever there is training from levels that are not calibrated."""
        return self._trains and not self.calibrate if self.latent is None else self.latent

    @property
    def _trains(self) -> bool:
        return self.train is not None and self.train.epochs > 0

    def learning(self, layer: WeightedLayer, network: Network, fit: Fit) -> Fit:
        """How latent weights are made whose form is what `fit` makes."""
        return partial(Latent.fit, fit=fit)

    def change(self, network: Network, at: Situation) -> Changed:
        layers = select_layers(network, self.where)
        check_varied(network, layers)
        if not self.learns_latently:
            return super().change(network, at)
        notes: list[str] = []
        for layer in layers:
            fit = self.learning(layer, network, self.fit(layer, network, at, notes))
            attach_whole(network, layer.weight, fit)
        return network, notes

    def settle(self, network: Network, at: Situation) -> Changed:
        settle(network)
        return network, []


def check_varied(network: Network, layers: Sequence[WeightedLayer]) -> None:
    """Refuse weights that are all the same number: a few levels say nothing of them."""
    for layer in layers:
        weight = network.dense(layer.weight).flatten()
        if len(weight) > 1 and bool((weight == weight[0]).all()):
            raise TersenetError(
                f"every weight of '{layer.weight}' is {float(weight[0]):g}, so there is nothing to round; "
                "leave the layer out by where, or repair the network"
            )
