"""A network that answers through the runtime's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tersenet import runtime
from tersenet.errors import TersenetError


class Accelerated(nn.Module):
    """Calls the runtime where the network would compute; answers only, no gradients.

    session   the open runtime session, whose `plan()` names each kernel
    """

    def __init__(self, session: runtime.Session) -> None:
        super().__init__()
        self.session = session
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        """CPU tensors in, CPU tensors out; refused where a gradient would be lost."""
        for tensor in inputs:
            if tensor.requires_grad and torch.is_grad_enabled():
                raise TersenetError(
                    "an accelerated network gives no gradients; use the network itself, or torch.no_grad()"
                )
            if tensor.device.type != "cpu":
                raise TersenetError(f"an input on {tensor.device}; an accelerated network runs on the CPU")
        found = self.session(*(tensor.detach().numpy() for tensor in inputs))
        if isinstance(found, np.ndarray):
            return torch.from_numpy(found)
        return tuple(torch.from_numpy(one) for one in found)

    def train(self, mode: bool = True) -> Accelerated:
        """Refuses to train."""
        if mode:
            raise TersenetError("an accelerated network cannot train; train the network it was made from")
        super().train(False)
        return self
