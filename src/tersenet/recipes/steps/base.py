"""What every step is: frozen data, the same in YAML and in Python, and how it changes a network.

READ FIRST
  1. A step has one or more stages (an iteration of pruning each). A stage changes the network, trains it if the step
     says so, and settles what training has left open; a run can be stopped and gone on with inside a stage.
  2. What a stage does follows from the network it is given and from its Situation alone: no step keeps a state.
  3. Settings of a layer may be one value for all, or a table from pattern to value, first match first; patterns are
     globs over names, "op:" and a glob over operations ("op:conv*"), "first" and "last".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

from tersenet.graph import Network
from tersenet.methods.distill import Teacher
from tersenet.training import AfterStep, TrainConfig

Keep = Annotated[float, Gt(0), Le(1)]
Quality = Annotated[float, Ge(0)]
Bits = Annotated[int, Ge(1), Le(16)]
Changed = tuple[Network, list[str]]
"""The network as it is now, and what a user should know of it, as sentences."""


Setting = Literal["keep", "bits", "channels", "rank"]
"""What a user may give by layer: the share of weights that stays, bits of a shared weight, the share of channels, the
share of numbers that two factors hold.
"""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Where a stage stands.

    stage      its number within the step
    seed       decides everything that is random
    train      the training data, or None where none was given
    validate   the validation data, likewise
    quality    the score of a network on `validate` that the run decides by, larger is better
    earlier    the network after that many steps of the recipe; after 0 it is the one the run began with
    """

    stage: int
    seed: int
    train: Any
    validate: Any
    quality: Callable[[Network], float]
    earlier: Callable[[int], Network]


class Step(BaseModel):
    """One entry of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    # Whether a stage that loses too much is undone, with the work going on from the one before it.
    may_stop_early: ClassVar[bool] = False
    # Whether a recipe that begins with this step may begin from what the same recipe made at a higher quality.
    goes_on: ClassVar[bool] = False

    train: TrainConfig | None = Field(None, description="training after each stage of this step; none by default")
    teacher: Teacher | None = Field(
        None, description="learn from the network the run began with, or from the one given"
    )

    @property
    def stages(self) -> int:
        return 1

    def label(self, stage: int) -> str:
        return self.id  # type: ignore[attr-defined]

    def change(self, network: Network, at: Situation) -> Changed:
        """The network changed, the one that came or another in its place, before it trains."""
        return network, []

    def train_config(self, stage: int) -> TrainConfig | None:
        return self.train

    def after_step(self, at: Situation) -> AfterStep | None:
        """What is done to the network after each step of training, if anything is."""
        return None

    def settle(self, network: Network, at: Situation) -> Changed:
        """The network after its training, with nothing of the training left in it."""
        return network, []

    @property
    def needs_data(self) -> bool:
        """Whether the step cannot do without training data."""
        configs = [self.train_config(stage) for stage in range(self.stages)]
        return any(config is not None and config.epochs > 0 for config in configs)

    def under(self, coder: str) -> Step:
        """The same step without what takes more bytes under this coder than it saves."""
        return self

    def with_table(self, setting: Setting, table: dict[str, Any]) -> Step | None:
        """The same step with another table from pattern to value, or None where it takes no such setting."""
        return None

    def at_quality(self, quality: float) -> Step | None:
        """The same step for fewer bytes (towards 0) or fewer errors (towards 100), or None where it has no such scale."""
        return None

    def gentler(self) -> Step | None:
        """The same step with less loss to expect, or None: what is tried when a goal was missed."""
        return None
