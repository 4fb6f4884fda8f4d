"""Optimal Brain Damage as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field

from tersenet.graph import Network
from tersenet.methods.obd import damage, gauss_newton_diagonal, recursive_diagonal
from tersenet.methods.saliency import attach_kept, keep_salient
from tersenet.recipes.steps._second_order import SecondOrder
from tersenet.recipes.steps.base import Changed, Keep, Situation


class OptimalBrainDamage(SecondOrder):
    """Remove the weights that the loss misses least by its second derivatives, then train what is left; repeat.

    Each iteration keeps its root of `keep` (LeCun, Denker and Solla 1990).
    """

    may_stop_early: ClassVar[bool] = True
    id: Literal["obd"] = "obd"
    keep: Keep | dict[str, Keep]
    curvature: Literal["gauss_newton", "recursion"] = Field(
        "gauss_newton", description="exact, with a backward pass an output; or the paper's, with one in all"
    )
    probes: Annotated[int, Ge(1)] | None = Field(
        None, description="random backward passes in place of one an output, for gauss_newton and many outputs"
    )
    iterations: Annotated[int, Ge(1)] = 1

    @property
    def stages(self) -> int:
        return self.iterations

    def label(self, stage: int) -> str:
        return f"obd {stage + 1}/{self.iterations}" if self.iterations > 1 else "obd"

    def change(self, network: Network, at: Situation) -> Changed:
        layers, notes = self._layers(network)
        inputs = self._inputs(network, at)
        if self.curvature == "recursion":
            diagonal = recursive_diagonal(network, inputs, layers, outputs=self.outputs)
        else:
            diagonal = gauss_newton_diagonal(
                network, inputs, layers, outputs=self.outputs, probes=self.probes, seed=at.seed
            )
        keep = self._keep(network, layers, (at.stage + 1) / self.iterations)
        attach_kept(network, keep_salient(damage(network, diagonal), keep))
        return network, notes
