"""Neurons and channels that are mostly zero leave, as a step."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from jaxtyping import Bool
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.graph import Network
from tersenet.methods.channels import Candidate, above_deviations, keep_shares
from tersenet.methods.scores import Scores, activation_scores, nonzero_scores
from tersenet.recipes.steps.base import Keep, Situation
from tersenet.recipes.steps.structural import RemovesChannels


class Apoz(RemovesChannels):
    """Remove the neurons and channels whose activations are most often zero on training inputs, then train; repeat.

    By `threshold`, standard deviations from the layer's mean, or by `keep`, the share that stays (each iteration keeps
    its root). Only behind a ReLU; score "mean" takes the mean activation instead, behind anything.
    """

    id: Literal["apoz"] = "apoz"
    score: Literal["zeros", "mean"] = "zeros"
    threshold: Annotated[float, Ge(0)] | None = Field(None, description="in standard deviations; Hu et al. take 1")
    keep: Keep | dict[str, Keep] | None = None

    @model_validator(mode="after")
    def _one_amount(self) -> Apoz:
        if (self.keep is None) == (self.threshold is None):
            raise ValueError("apoz needs either threshold (standard deviations) or keep (a share of channels)")
        return self

    @property
    def needs_data(self) -> bool:
        return True

    def scores(self, network: Network, at: Situation) -> Scores:
        measure = nonzero_scores if self.score == "zeros" else activation_scores
        return measure(network, self.sampled(at))

    def keeps(self, network: Network, found: list[Candidate]) -> list[Bool[Tensor, " size"]]:
        if self.threshold is not None:
            return above_deviations(found, self.threshold, self.limits)
        assert self.keep is not None
        table = self.keep if isinstance(self.keep, dict) else {"*": self.keep}
        shares = {pattern: share ** (1 / self.iterations) for pattern, share in table.items()}
        return keep_shares(network, found, self.where, shares, self.limits)
