"""Whole layers and residual branches removed by measured damage, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import model_validator

from tersenet.graph import Network
from tersenet.methods.layers import removable_parts, remove_layers
from tersenet.recipes.steps.base import Changed, Keep, Situation
from tersenet.recipes.steps.structural import Structural


class Layers(Structural):
    """Remove the layers and residual branches that harm the validation score least, one at a time, then train.

    Give `remove`, how many leave, or `keep`, the share of those that could that stays. Each is tried alone, the least
    harmful leaves, and the rest are tried again without it.
    """

    id: Literal["layers"] = "layers"
    remove: Annotated[int, Ge(1)] | None = None
    keep: Keep | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Layers:
        if (self.keep is None) == (self.remove is None):
            raise ValueError("layers needs either remove (a number) or keep (a share of what could leave)")
        return self

    def change(self, network: Network, at: Situation) -> Changed:
        parts = removable_parts(network, self.where)
        count = self.remove if self.keep is None else len(parts) - round(self.keep * len(parts))
        if not count:
            return network, [f"no layer left the network: {self.keep:g} of {len(parts)} that could are all of them"]
        assert count is not None
        smaller, losses = remove_layers(network, self.where, count, at.quality)
        notes = [
            f"{loss.part.name} left ({', '.join(loss.part.layers)}): quality {loss.quality:.4f}, best of {loss.measured}"
            for loss in losses
        ]
        return smaller, notes + self.with_statistics(smaller, at)
