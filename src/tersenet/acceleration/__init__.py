"""Networks that answer through the runtime's kernels, for those who stay in torch."""

from __future__ import annotations

from torch import Tensor, nn

from tersenet import artifact, runtime
from tersenet.acceleration.layers import AcceleratedLayer, swapped
from tersenet.acceleration.network import Accelerated
from tersenet.errors import TersenetError
from tersenet.graph import Network

__all__ = ["Accelerated", "AcceleratedLayer", "accelerate"]


def accelerate(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...] | None = None,
    *,
    threads: int = 0,
    batch: int | None = None,
    activations: runtime.Activations = "float32",
) -> nn.Module:
    """A network as it is now, run from its compressed form on the CPU.

    model     a Network, from tersenet.load or tersenet.capture, of which every operation then runs in the runtime (an
              `Accelerated`); or any other module, of a copy of which those layers are swapped that are faster so
    example   an input of such a module, batch axis first: what its layers are measured with
    threads   0: as many as this process may use
    batch     the batch that kernels are chosen for, by default that of the example, or 1; any batch runs
    activations   "int8" computes as `tersenet.runtime.open` says: what a network loses by it, tensor for tensor

    Later changes of its weights do not reach the result. Raises TersenetError for operations that the runtime lacks, or
    without an example where one is needed.
    """
    if isinstance(model, Network):
        data = artifact.to_bytes(model, coder="raw")
        opened = runtime.open_bytes(data, name="network", threads=threads, batch=batch or 1, activations=activations)
        return Accelerated(opened)
    if not isinstance(model, nn.Module):
        raise TersenetError(f"a {type(model).__name__} came; a Network or a torch.nn.Module is accelerated")
    if example is None:
        raise TersenetError(
            f"a {type(model).__name__} came without an example, by which its layers are measured: "
            "tersenet.accelerate(model, example)"
        )
    inputs = example if isinstance(example, tuple) else (example,)
    return swapped(model, inputs, threads=threads, batch=batch, activations=activations)
