"""Magnitude pruning as a step."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field, model_validator

from tersenet.graph import Network
from tersenet.methods.prune import above_threshold, attach_pruned, global_keep, keep_largest
from tersenet.methods.select import select_layers, setting
from tersenet.recipes.steps.base import Changed, Keep, Quality, Situation, Step
from tersenet.training import TrainConfig


class Prune(Step):
    """Keep the largest weights of each layer matched by `where`, then train what is left; repeat (Han et al. 2015).

    Give `keep`, the fraction that stays in the end (each iteration keeps its root), or `quality`: weights within
    quality x standard deviation go in each iteration. scope "global" takes one threshold for all layers together.
    """

    may_stop_early: ClassVar[bool] = True
    id: Literal["prune"] = "prune"
    where: str = "*"
    keep: Keep | dict[str, Keep] | None = None
    quality: Quality | dict[str, Quality] | None = None
    scope: Literal["layer", "global"] = "layer"
    iterations: Annotated[int, Ge(1)] = 1
    last_train: TrainConfig | None = Field(None, description="training after the last iteration instead of `train`")

    @model_validator(mode="after")
    def _one_rule(self) -> Prune:
        if (self.keep is None) == (self.quality is None):
            raise ValueError("prune needs either keep (a fraction) or quality (times the standard deviation)")
        if self.scope == "global" and not isinstance(self.keep, float):
            raise ValueError("scope global takes one keep-fraction for all layers together")
        return self

    @property
    def stages(self) -> int:
        return self.iterations

    def label(self, stage: int) -> str:
        return f"prune {stage + 1}/{self.iterations}" if self.iterations > 1 else "prune"

    def change(self, network: Network, at: Situation) -> Changed:
        layers = select_layers(network, self.where)
        root = (at.stage + 1) / self.iterations
        weights = {layer.weight: network.dense(layer.weight) for layer in layers}
        if self.scope == "global":
            assert isinstance(self.keep, float)
            pruned = global_keep(weights, self.keep**root)
        elif self.keep is not None:
            keeps = {layer.weight: setting(self.keep, layer, network, "keep") for layer in layers}
            pruned = {name: keep_largest(weight, keeps[name] ** root) for name, weight in weights.items()}
        else:
            assert self.quality is not None
            qualities = {layer.weight: setting(self.quality, layer, network, "quality") for layer in layers}
            pruned = {name: above_threshold(weight, qualities[name]) for name, weight in weights.items()}
        for name, weight in pruned.items():
            attach_pruned(network, name, weight)
        return network, []

    def train_config(self, stage: int) -> TrainConfig | None:
        return self.last_train if self.last_train is not None and stage == self.iterations - 1 else self.train
