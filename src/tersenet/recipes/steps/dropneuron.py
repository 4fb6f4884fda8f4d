"""Neurons that training lets go leave, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field, model_validator

from tersenet.graph import Network
from tersenet.methods.dropneuron import drop_neurons, what_is_left
from tersenet.methods.select import select_layers, setting
from tersenet.recipes.steps.base import Changed, Situation, Step
from tersenet.training import TrainConfig

Threshold = Annotated[float, Ge(0)]
# Half the penalties and half the threshold are tried until all thresholds lie below this.
GENTLEST = 0.002


class DropNeuron(Step):
    """Train with li + lo + l1 (`train.regularise`), drop |w| < threshold and neurons that are cut off, train the rest.

    After Pan et al. 2016, arXiv:1606.07326. Without `train` the network is cut as it comes. `where` names the layers
    that are penalised and cut.
    """

    id: Literal["dropneuron"] = "dropneuron"
    where: str = "*"
    threshold: Threshold | dict[str, Threshold] = Field(0.01, description="magnitudes below it go")
    last_train: TrainConfig | None = Field(None, description="training of what is left after the cut")

    @model_validator(mode="after")
    def _one_where(self) -> DropNeuron:
        if self.train is not None and self.train.regularise.where != "*":
            raise ValueError("the where of dropneuron says which layers are penalised too; drop that of regularise")
        return self

    @property
    def stages(self) -> int:
        return 1 if self.train is None else 2

    def label(self, stage: int) -> str:
        return "drop neurons" if self._cuts(stage) else "regularise"

    def change(self, network: Network, at: Situation) -> Changed:
        layers = select_layers(network, self.where)
        cut = {layer.weight: setting(self.threshold, layer, network, "threshold") for layer in layers}
        if not self._cuts(at.stage):
            return network, []
        smaller = drop_neurons(network, cut)
        return smaller, what_is_left(network, smaller) or ["no weight lies below the threshold; nothing was removed"]

    def train_config(self, stage: int) -> TrainConfig | None:
        if self._cuts(stage):
            return self.last_train
        assert self.train is not None
        return _regularised(self.train, where=self.where)

    def gentler(self) -> DropNeuron | None:
        thresholds = self.threshold if isinstance(self.threshold, dict) else {"*": self.threshold}
        if all(threshold < GENTLEST for threshold in thresholds.values()):
            return None
        changes: dict[str, object] = {"threshold": {where: threshold / 2 for where, threshold in thresholds.items()}}
        if self.train is not None:
            by = self.train.regularise
            changes["train"] = _regularised(self.train, l1=by.l1 / 2, l2=by.l2 / 2, li=by.li / 2, lo=by.lo / 2)
        return self.model_copy(update=changes)

    def _cuts(self, stage: int) -> bool:
        return stage == self.stages - 1


def _regularised(train: TrainConfig, **changes: object) -> TrainConfig:
    """The same training with other penalties, where it has any."""
    if not train.regularise.active:
        return train
    return train.model_copy(update={"regularise": train.regularise.model_copy(update=changes)})
