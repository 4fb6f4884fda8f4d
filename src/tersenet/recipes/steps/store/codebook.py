"""Shared values, as a step."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.forms import Codebook, Dense, Form, Sparse
from tersenet.forms._kmeans import Start
from tersenet.graph import Network, WeightedLayer
from tersenet.methods.select import select_layers, setting
from tersenet.methods.share import as_kept, attach_values
from tersenet.recipes.steps.base import Bits, Changed, Situation
from tersenet.recipes.steps.store.base import Fit
from tersenet.recipes.steps.store.clustered import StoreClustered


class StoreCodebook(StoreClustered):
    """At most 2**bits shared values a layer (Han et al. 2016, section 3)."""

    form: Literal["codebook"] = "codebook"
    bits: Bits | dict[str, Bits] = 5
    init: Start = "linear"
    dtype: Literal["float32", "float16", "int8"] = Field("float32", description="of the shared values")
    per: Literal["tensor", "row"] = Field("tensor", description="of int8: one scale a layer, or one an output channel")
    shared: bool = Field(False, description="one codebook for all layers of `where`; a file holds it once a layer")
    iterations: Annotated[int, Ge(1)] = Field(
        1, description="of sharing and training; in all but the last the weights train freely, then share anew"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> StoreCodebook:
        if self.per == "row" and (self.dtype != "int8" or self.shared):
            raise ValueError("per: row gives each row a scale of int8; it needs dtype: int8, and no shared codebook")
        if self.shared and not isinstance(self.bits, int):
            raise ValueError("a shared codebook has one size: give bits as one number")
        if self.shared and self.calibrate:
            raise ValueError(
                "one codebook for all layers is there before any layer is calibrated; drop shared or calibrate"
            )
        if self.iterations > 1 and self.train is None:
            raise ValueError("iterations train between sharings: give train, or iterations: 1")
        return self

    @classmethod
    def over_range(cls) -> tuple[StoreCodebook, ...]:
        return tuple(cls.model_validate({"bits": bits}) for bits in range(8, 0, -1))

    @property
    def stages(self) -> int:
        return self.iterations

    def label(self, stage: int) -> str:
        return "share" if stage == self.iterations - 1 else f"share, weights train ({stage + 1})"

    def change(self, network: Network, at: Situation) -> Changed:
        network, notes = self._share_one(network, at) if self.shared else super().change(network, at)
        if at.stage < self.iterations - 1:
            for layer in select_layers(network, self.where):
                attach_values(network, layer.weight, Dense.fit)
        return network, notes

    def fit(self, layer: WeightedLayer, network: Network, at: Situation, notes: list[str]) -> Fit:
        k = 2 ** setting(self.bits, layer, network, "bits")
        importance = self.importance(layer, network, at, notes)

        def fit(weight: Tensor) -> Form:
            per = self.per
            if per == "row" and weight.ndim < 2:
                per = "tensor"
                notes.append(f"{layer.weight}: zeros are left out, so one scale serves the rest, not one a row")
            made = self._made(weight, k, importance, at.seed, per)
            if made.k < k:
                notes.append(_fewer(layer.weight, made.k, k, self.dtype))
            return made

        return fit

    def _made(
        self, weight: Tensor, k: int, importance: Tensor | None, seed: int, per: Literal["tensor", "row"]
    ) -> Codebook:
        options = {"k": k, "init": self.init, "table": self.dtype, "importance": importance, "seed": seed}
        return Codebook.fit(weight, per=per, **options)  # type: ignore[arg-type]

    def _share_one(self, network: Network, at: Situation) -> Changed:
        """One codebook fitted on the weights of all layers; its values are one parameter, which trains for all."""
        layers = select_layers(network, self.where)
        notes: list[str] = []
        weights = [as_kept(network, layer.weight, network.dense(layer.weight)).reshape(-1) for layer in layers]
        counted = [self.importance(layer, network, at, notes) for layer in layers]
        importance = None
        if any(one is not None for one in counted):
            pairs = zip(counted, weights)
            importance = torch.cat([torch.ones_like(w) if one is None else one.reshape(-1) for one, w in pairs])
        assert isinstance(self.bits, int)
        k = 2**self.bits
        common = self._made(torch.cat(weights), k, importance, at.seed, "tensor")
        if common.k < k:
            notes.append(_fewer(f"{len(layers)} layers together", common.k, k, self.dtype))
        nearest = partial(Codebook.of, centroids=common.centroids, table=self.dtype, scale=common.scale)
        tied: torch.nn.Parameter | None = None
        for layer in layers:
            attach_values(network, layer.weight, nearest)
            form = network.form(layer.weight)
            inner = form.values if isinstance(form, Sparse) else form
            if isinstance(inner, Codebook):
                tied = inner.centroids if tied is None else tied
                inner.centroids = tied
        notes.append(f"{len(layers)} layers share one codebook of {common.k} values; a file holds it once a layer")
        return network, notes


def _fewer(what: str, made: int, k: int, dtype: str) -> str:
    different = "whole numbers of int8" if dtype == "int8" else "distinct weights"
    return f"{what}: {made} {different} are left, so the codebook has {made} values, not {k}"
