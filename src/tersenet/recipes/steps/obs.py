"""One-shot pruning by Optimal Brain Surgeon as a step."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Gt
from pydantic import Field, model_validator

from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.methods.obs import Surgery, prune_by_surgery
from tersenet.methods.patterns import Neighbours, parse_pattern
from tersenet.recipes.steps._second_order import SecondOrder
from tersenet.recipes.steps.base import Changed, Setting, Situation


class OptimalBrainSurgeon(SecondOrder):
    """Remove weights once and set the rest right, layer by layer, from training inputs; nothing is trained.

    Give `keep` or `pattern`. Biases and BatchNorm's running means take up what pruning does to each channel's mean
    (Hassibi and Stork 1993; Frantar and Alistarh 2022, arXiv:2208.11580).
    """

    id: Literal["obs"] = "obs"
    pattern: str | None = Field(None, description='"2:4": at most 2 of 4 neighbours stay')
    damping: Annotated[float, Gt(0)] = Field(0.01, description="added to second moments, of their mean diagonal")

    @model_validator(mode="after")
    def _one_rule(self) -> OptimalBrainSurgeon:
        if (self.keep is None) == (self.pattern is None):
            raise ValueError('obs needs either keep (a fraction) or pattern (such as "2:4")')
        if self.pattern is not None:
            _neighbours(self.pattern)
        return self

    def with_table(self, setting: Setting, table: dict[str, Any]) -> OptimalBrainSurgeon | None:
        if setting != "keep":
            return None
        return OptimalBrainSurgeon(**self.model_dump() | {"keep": table, "scope": None, "pattern": None})

    def change(self, network: Network, at: Situation) -> Changed:
        layers, notes = self._layers(network)
        inputs = self._inputs(network, at)
        surgery = Surgery(
            keep=self._keep(network, layers) if self.keep is not None else None,
            pattern=_neighbours(self.pattern) if self.pattern is not None else None,
            damping=self.damping,
            outputs=self.outputs,
        )
        prune_by_surgery(network, inputs, layers, surgery, seed=at.seed)
        return network, notes

    def gentler(self) -> OptimalBrainSurgeon | None:
        if not isinstance(self.keep, float) or self.keep >= 1:
            return None
        return self.model_copy(update={"keep": min(self.keep + 0.1, 1.0)})


def _neighbours(text: str) -> Neighbours:
    pattern = parse_pattern(text)
    if not isinstance(pattern, Neighbours):
        raise TersenetError(f"obs knows no blocks such as {text}; give a pattern such as 2:4")
    return pattern
