"""A network that trains together with modules that are no part of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn


class Accompanied(nn.Module):
    """Answers as `network`; what is in `companions` trains, is saved and is restored with it.

    `fit` takes it as a model, and applies to `network` alone what is meant for it: penalties on weights and hooks.
    """

    def __init__(self, network: nn.Module, companions: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.companions = companions

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)

    def frozen_weights(self) -> AbstractContextManager[None]:
        """As the network's own, where it has it."""
        own = getattr(self.network, "frozen_weights", nullcontext)
        return own()


def network_of(model: nn.Module) -> nn.Module:
    """The network itself, without what accompanies it."""
    return model.network if isinstance(model, Accompanied) else model
