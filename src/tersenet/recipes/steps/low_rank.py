"""Layers as two thinner ones, as a step."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import Field, model_validator

from tersenet.graph import Network
from tersenet.methods._factorable import factorable
from tersenet.methods.low_rank import (
    TENSOR_BYTES,
    Spectrum,
    factorise_layers,
    rank_by_energy,
    rank_by_numbers,
    rank_by_vbmf,
    ranks_within,
    spectra,
)
from tersenet.methods.select import setting
from tersenet.recipes.steps.base import Changed, Keep, Setting, Situation
from tersenet.recipes.steps.structural import Structural

Rank = Annotated[int, Ge(1)] | Literal["vbmf"]


class LowRank(Structural):
    """Linear layers and convolutions become two thinner ones by truncated SVD, then the network trains.

    Give one of: `rank`, a number or "vbmf", for as many components as are more than noise; `energy`, the share of squared
    singular values that stays; `keep`, the share of numbers, of each layer where it is a table and of all together where it
    is one number; `max_bytes`, what the layers take together as plain numbers. With `covariance` errors count as the layers'
    training inputs see them (Denton et al. 2014, arXiv:1404.0736, section 3).
    """

    id: Literal["low_rank"] = "low_rank"
    rank: Rank | dict[str, Rank] | None = None
    energy: Keep | dict[str, Keep] | None = None
    keep: Keep | dict[str, Keep] | None = None
    max_bytes: Annotated[int, Ge(1)] | None = None
    covariance: bool = Field(False, description="weigh errors by the covariance of training inputs, labels unread")

    @model_validator(mode="after")
    def _one_amount(self) -> LowRank:
        if sum(one is not None for one in (self.rank, self.energy, self.keep, self.max_bytes)) != 1:
            raise ValueError(
                "low_rank needs one of rank (a number or vbmf), energy (a share), keep (a share of numbers) and max_bytes"
            )
        return self

    @property
    def needs_data(self) -> bool:
        return self.covariance or super().needs_data

    def change(self, network: Network, at: Situation) -> Changed:
        layers, notes = factorable(network, self.where, "low_rank")
        found = spectra(network, layers, self.sampled(at) if self.covariance else None)
        smaller, more = factorise_layers(network, found, self._ranks(network, found))
        return smaller, notes + more + self.with_statistics(smaller, at)

    def _ranks(self, network: Network, found: list[Spectrum]) -> dict[str, int]:
        weights = [one.layer.weight for one in found]
        if self.max_bytes is not None:
            size = max(network.dense(weight).element_size() for weight in weights)
            ranks = ranks_within(found, self.max_bytes, number_bytes=size, tensor_bytes=TENSOR_BYTES)
            return dict(zip(weights, ranks))
        if isinstance(self.keep, float):
            budget = int(self.keep * sum(one.matrix.size for one in found))
            return dict(zip(weights, ranks_within(found, budget)))
        return {one.layer.weight: self._rank(network, one) for one in found}

    def _rank(self, network: Network, one: Spectrum) -> int:
        """Of one layer, whatever the others take."""
        if self.keep is not None:
            keep: float = setting(self.keep, one.layer, network, "keep")
            return rank_by_numbers(one, keep)
        if self.energy is not None:
            return rank_by_energy(one.energies, setting(self.energy, one.layer, network, "energy"))
        assert self.rank is not None
        rank: Rank = setting(self.rank, one.layer, network, "rank")
        return rank_by_vbmf(one) if isinstance(rank, str) else rank

    def with_table(self, setting: Setting, table: dict[str, Any]) -> LowRank | None:
        if setting != "rank":
            return None
        return LowRank(**self.model_dump() | {"keep": table, "rank": None, "energy": None, "max_bytes": None})

    def gentler(self) -> LowRank | None:
        for amount in ("energy", "keep"):
            share = getattr(self, amount)
            if isinstance(share, float) and share < 1:
                return self.model_copy(update={amount: (1 + share) / 2 if share < 0.99 else 1.0})
        return None
