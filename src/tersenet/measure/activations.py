"""What a running network needs in memory beside its weights."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tersenet.measure._follow import Follow, run, tensors, zeros


@dataclass(frozen=True, kw_only=True)
class ActivationMemory:
    """peak_bytes   the most that the inputs and outputs of one operation take together
    peak_layer   the layer that it belongs to
    """

    peak_bytes: int
    peak_layer: str


def activation_memory(model: nn.Module, input_shape: tuple[int, ...], *, batch: int = 1) -> ActivationMemory:
    """Of a runtime that keeps an operation's inputs until its outputs are there, and nothing else.

    What a skip connection keeps for a later operation is not counted.
    """
    inputs = zeros(model, (batch, *input_shape))
    peak = _Peak(model, inputs)
    run(model, inputs, peak)
    return ActivationMemory(peak_bytes=peak.size_bytes, peak_layer=peak.name)


class _Peak(Follow):  # type: ignore[no-untyped-call]
    """The largest operation so far."""

    size_bytes = 0
    name = ""

    def seen(self, packet: Any, args: tuple[Any, ...], result: Any) -> None:
        # By memory: views and what is computed in place take none of their own.
        held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in self._activations(args, result)}
        total = sum(held.values())
        if total > self.size_bytes:
            weight = next((tensor for tensor in tensors(args) if not self.live(tensor)), None)
            self.size_bytes, self.name = total, self.layer(weight)

    def _activations(self, args: tuple[Any, ...], result: Any) -> list[Tensor]:
        return [tensor for tensor in tensors((args, result)) if self.live(tensor)]
