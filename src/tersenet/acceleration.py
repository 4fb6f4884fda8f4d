"""A loaded network that answers through the runtime's kernels, for those who stay in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tersenet import artifact, runtime
from tersenet.errors import TersenetError
from tersenet.graph import Network


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


def accelerate(
    network: Network, *, threads: int = 0, batch: int = 1, activations: runtime.Activations = "float32"
) -> Accelerated:
    """The network as it is now, run from its compressed form on the CPU.

    network   from tersenet.load or tersenet.capture; later changes of its weights do not reach the result
    threads   0: as many as this process may use
    batch     the batch that kernels are chosen for; any batch runs
    activations   "int8" computes as `tersenet.runtime.open` says: what a network loses by it, tensor for tensor

    Raises TersenetError for operations that the runtime lacks.
    """
    if not isinstance(network, Network):
        raise TersenetError(
            f"a {type(network).__name__} came; capture it first: tersenet.accelerate(tersenet.capture(model, example))"
        )
    data = artifact.to_bytes(network, coder="raw")
    return Accelerated(runtime.open_bytes(data, name="network", threads=threads, batch=batch, activations=activations))
