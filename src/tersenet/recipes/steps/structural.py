"""What steps that change a network's structure share: training inputs to look at, BatchNorm right afterwards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from tersenet.calibration import sample_batches
from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.methods.channels import Candidate, Limits, candidates, remove_units, removed
from tersenet.methods.scores import Scores
from tersenet.recipes.steps._statistics import EstimatesBatchNorm
from tersenet.recipes.steps.base import Changed, Situation
from tersenet.training import TrainConfig


class Structural(EstimatesBatchNorm):
    """A smaller network in place of the one that came; its running statistics are estimated anew from training inputs."""

    where: str = "*"
    examples: Annotated[int, Ge(0)] = Field(
        2048, description="at most this many training inputs for scores and for BatchNorm; 0 leaves BatchNorm as it is"
    )

    def sampled(self, at: Situation) -> Iterator[Any]:
        """Training batches to look at; refused where there are none."""
        if at.train is None or not self.examples:
            raise TersenetError(
                f"step {self.label(at.stage)} looks at training inputs, and "
                + ("examples is 0" if at.train is not None else "no training data was given; pass train")
            )
        return sample_batches(at.train, self.examples, self.batch_size, at.seed)

    def with_statistics(self, network: Network, at: Situation) -> list[str]:
        """BatchNorm set right after the change, where there is data; a sentence where there is none."""
        has_statistics = any(node.op == "batch_norm" and node.get("running_mean") for node in network.graph.nodes)
        if not has_statistics:
            return []
        if at.train is None or not self.examples:
            return ["BatchNorm keeps the statistics of the larger network: no training inputs were looked at"]
        self.estimate_batchnorm(network, at)
        return []


class RemovesChannels(Structural):
    """Channels leave by a score, in `iterations` with training after each."""

    may_stop_early: ClassVar[bool] = True
    at_least: Annotated[int, Ge(1)] = Field(1, description="channels that every layer keeps")
    multiple: Annotated[int, Ge(1)] = Field(1, description="a layer keeps a multiple of this many, for speed")
    iterations: Annotated[int, Ge(1)] = 1
    last_train: TrainConfig | None = Field(None, description="training after the last iteration instead of `train`")

    @property
    def stages(self) -> int:
        return self.iterations

    def label(self, stage: int) -> str:
        name: str = self.id  # type: ignore[attr-defined]
        return f"{name} {stage + 1}/{self.iterations}" if self.iterations > 1 else name

    def train_config(self, stage: int) -> TrainConfig | None:
        return self.last_train if self.last_train is not None and stage == self.iterations - 1 else self.train

    @property
    def limits(self) -> Limits:
        return Limits(at_least=self.at_least, multiple=self.multiple)

    def change(self, network: Network, at: Situation) -> Changed:
        found, notes = candidates(network, self.where, self.scores(network, at))
        keeps = self.keeps(network, found)
        if all(bool(keep.all()) for keep in keeps):
            return network, [*notes, "no channel left the network: the request keeps them all"]
        smaller = remove_units(network, found, keeps)
        notes += removed(found, keeps)
        return smaller, notes + self.with_statistics(smaller, at)

    @abstractmethod
    def scores(self, network: Network, at: Situation) -> Scores:
        """How much each channel matters."""

    @abstractmethod
    def keeps(self, network: Network, found: list[Candidate]) -> list[Bool[Tensor, " size"]]:
        """Which units of each candidate stay."""
