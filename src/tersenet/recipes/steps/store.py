"""A form for the weights, as a step."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tersenet.graph import Network
from tersenet.methods.select import select_layers, setting
from tersenet.methods.share import share_weights, store_dense
from tersenet.recipes.steps.base import Bits, Changed, Setting, Situation, Step


class Store(Step):
    """Store the weights matched by `where` in a form, then train what the form leaves free.

    form "codebook": at most 2**bits shared values a layer (Han et al. 2016, section 3); form "dense": plain numbers
    of `dtype`. Zeros that are there stay.
    """

    id: Literal["store"] = "store"
    where: str = "*"
    form: Literal["codebook", "dense"] = "codebook"
    bits: Bits | dict[str, Bits] = 5
    init: Literal["forgy", "density", "linear", "optimum"] = "linear"
    dtype: Literal["float32", "float16"] = Field("float32", description="of the shared values, or of plain numbers")

    def label(self, stage: int) -> str:
        return "share" if self.form == "codebook" else f"store {self.dtype}"

    def change(self, network: Network, at: Situation) -> Changed:
        notes = []
        layers = select_layers(network, self.where)
        for layer in layers:
            if self.form == "dense":
                store_dense(network, layer.weight, dtype=self.dtype)
                continue
            k = 2 ** setting(self.bits, layer, network, "bits")
            made = share_weights(network, layer.weight, k=k, init=self.init, table=self.dtype, seed=at.seed)
            if made < k:
                notes.append(
                    f"{layer.weight}: {made} distinct weights are left, so the codebook has {made} values, not {k}"
                )
        return network, notes

    def with_table(self, setting: Setting, table: dict[str, Any]) -> Store | None:
        if setting != "bits" or self.form != "codebook":
            return None
        return Store(**self.model_dump() | {"bits": table})

    def gentler(self) -> Store | None:
        if self.form != "codebook":
            return None
        bits = {"*": self.bits} if isinstance(self.bits, int) else self.bits
        if all(width >= 8 for width in bits.values()):
            return None
        return self.model_copy(update={"bits": {pattern: min(width + 1, 16) for pattern, width in bits.items()}})
