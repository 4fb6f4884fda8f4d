"""Convolutions as 1x1, KxK and 1x1, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field, model_validator

from tersenet.graph import Network, WeightedLayer
from tersenet.methods._factorable import factorable
from tersenet.methods.select import setting
from tersenet.methods.tucker2 import SWEEPS, Ranks, factorise_convolutions, ranks_by_energy, ranks_by_vbmf
from tersenet.recipes.steps.base import Changed, Keep, Situation
from tersenet.recipes.steps.structural import Structural

Channels = Annotated[int, Ge(1)]
Rank = tuple[Channels, Channels] | Literal["vbmf"]


class Tucker2Step(Structural):
    """Convolutions with kernels of more than one place become 1x1, KxK and 1x1, then the network trains.

    Give `rank`, "vbmf" or [input channels, output channels] of the KxK layer, or `energy`, the share of squared singular
    values of both unfoldings that stays (Kim et al. 2016, arXiv:1511.06530).
    """

    id: Literal["tucker2"] = "tucker2"
    rank: Rank | dict[str, Rank] | None = None
    energy: Keep | dict[str, Keep] | None = None
    sweeps: Annotated[int, Ge(0)] = Field(SWEEPS, description="of alternating least squares, at most; 0 is HOSVD alone")

    @model_validator(mode="after")
    def _one_amount(self) -> Tucker2Step:
        if (self.rank is None) == (self.energy is None):
            raise ValueError("tucker2 needs either rank (vbmf, or [input, output] channels) or energy (a share)")
        return self

    def change(self, network: Network, at: Situation) -> Changed:
        layers, notes = factorable(network, self.where, "tucker2", spatial=True)
        ranks = {layer.weight: self._ranks(network, layer) for layer in layers}
        smaller, more = factorise_convolutions(network, layers, ranks, self.sweeps)
        return smaller, notes + more + self.with_statistics(smaller, at)

    def _ranks(self, network: Network, layer: WeightedLayer) -> Ranks:
        weight = network.dense(layer.weight)
        if self.energy is not None:
            return ranks_by_energy(weight, setting(self.energy, layer, network, "energy"))
        assert self.rank is not None
        rank: Rank = setting(self.rank, layer, network, "rank")
        return ranks_by_vbmf(weight) if isinstance(rank, str) else rank

    def gentler(self) -> Tucker2Step | None:
        if not isinstance(self.energy, float) or self.energy >= 1:
            return None
        return self.model_copy(update={"energy": (1 + self.energy) / 2 if self.energy < 0.99 else 1.0})
