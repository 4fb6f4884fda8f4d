"""Filters and channels removed by a score, as a step."""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from tersenet.graph import Network
from tersenet.methods.channels import (
    Candidate,
    Scope,
    keep_operations,
    keep_share_of_all,
    keep_shares,
    removal_order,
)
from tersenet.methods.scores import Scores, activation_scores, batchnorm_scores, norm_scores, taylor_scores
from tersenet.recipes.steps.base import Keep, Setting, Situation
from tersenet.recipes.steps.structural import RemovesChannels
from tersenet.training import TrainConfig, batch_loss


class Channels(RemovesChannels):
    """Remove the channels that matter least, with all that is coupled to them, then train; repeat.

    Give `keep`, the share of channels that stays, of each layer or, with scope "global", of all together; or `flops`,
    the share of multiply-adds that stays. Each iteration keeps its root of what it finds.
    """

    id: Literal["channels"] = "channels"
    score: Literal["l1", "l2", "batchnorm", "taylor", "activation"] = "l1"
    keep: Keep | dict[str, Keep] | None = None
    flops: Keep | None = None
    scope: Scope = "layer"
    normalise: bool = Field(True, description="scope global compares scores divided by the mean of their layer's")

    @model_validator(mode="after")
    def _one_amount(self) -> Channels:
        if (self.keep is None) == (self.flops is None):
            raise ValueError("channels needs either keep (a share of channels) or flops (a share of multiply-adds)")
        if self.scope == "global" and isinstance(self.keep, dict):
            raise ValueError("scope global takes one keep-fraction for all layers together")
        return self

    @property
    def needs_data(self) -> bool:
        return self.score in ("taylor", "activation") or super().needs_data

    def with_table(self, setting: Setting, table: dict[str, Any]) -> Channels | None:
        if setting != "channels":
            return None
        return Channels(**self.model_dump() | {"keep": table, "flops": None, "scope": "layer"})

    def scores(self, network: Network, at: Situation) -> Scores:
        if self.score == "batchnorm":
            return batchnorm_scores(network)
        if self.score == "taylor":
            return taylor_scores(network, self.sampled(at), self._loss)
        if self.score == "activation":
            return activation_scores(network, self.sampled(at))
        return norm_scores(network, 1 if self.score == "l1" else 2)

    def keeps(self, network: Network, found: list[Candidate]) -> list[Bool[Tensor, " size"]]:
        root = 1 / self.iterations
        if self.keep is not None and self.scope == "layer":
            table = self.keep if isinstance(self.keep, dict) else {"*": self.keep}
            shares = {pattern: share**root for pattern, share in table.items()}
            return keep_shares(network, found, self.where, shares, self.limits)
        order = removal_order(found, self.scope, normalise=self.normalise)
        if self.flops is not None:
            return keep_operations(network, found, order, self.flops**root, self.limits)
        assert isinstance(self.keep, float)
        return keep_share_of_all(found, order, self.keep**root, self.limits)

    def _loss(self, outputs: Tensor, target: Tensor) -> Float[Tensor, ""]:
        config = self.train or TrainConfig(epochs=0, loss="mse" if target.is_floating_point() else "cross_entropy")
        return batch_loss(config, outputs, target)
