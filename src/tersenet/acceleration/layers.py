"""Layers of any module that answer through the runtime's kernels, where these are faster than torch's."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from tersenet import artifact, runtime
from tersenet.acceleration.network import Accelerated
from tersenet.graph import capture
from tersenet.graph.masks import masks_applied

# A layer is swapped if it takes less than this share of torch's time.
WORTH = 0.95
# Times each layer is measured, in turns with torch's; the median counts.
ROUNDS = 7
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class AcceleratedLayer(Accelerated):
    """A layer of a larger module.

    milliseconds        of one call with the example that it was chosen by
    torch_milliseconds  that the layer in its place took
    """

    def __init__(self, session: runtime.Session, milliseconds: float, torch_milliseconds: float) -> None:
        super().__init__(session)
        self.milliseconds, self.torch_milliseconds = milliseconds, torch_milliseconds
        self._axes = len(session.inputs[0].shape)

    def forward(self, *inputs: Tensor) -> Any:
        """As the layer: a Linear also takes more batch axes than one."""
        (x,) = inputs
        lead = x.shape[: x.ndim - self._axes + 1]
        found = super().forward(x.reshape(-1, *x.shape[len(lead) :]).contiguous())
        return found.reshape(*lead, *found.shape[1:])


def swapped(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    threads: int,
    batch: int | None,
    activations: runtime.Activations,
) -> nn.Module:
    """A copy of `model` in which linear layers and convolutions call the runtime where that is faster, measured here."""
    with masks_applied(model):
        copied = copy.deepcopy(model).eval()
    met = _inputs_met(copied, inputs)
    replaced: dict[nn.Module, AcceleratedLayer] = {}
    for layer, x in met.items():
        session = _opened(layer, x, threads, batch, activations)
        ours, theirs = _measured(layer, session, x)
        if ours < WORTH * theirs:
            replaced[layer] = AcceleratedLayer(session, 1e3 * ours, 1e3 * theirs)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if child in replaced:
                setattr(module, name, replaced[child])
    if not replaced:
        warnings.warn(
            f"none of {len(met)} linear layers and convolutions is faster from its compressed form on this machine; "
            "the module computes as before",
            stacklevel=3,
        )
    return copied


def _inputs_met(model: nn.Module, inputs: tuple[Tensor, ...]) -> dict[nn.Module, Tensor]:
    """What each layer reads for these inputs; layers with hooks or another class than torch's own stay as they are."""
    layers = [
        module
        for module in model.modules()
        if type(module) in LAYERS and not module._forward_hooks and not module._forward_pre_hooks
    ]
    met: dict[nn.Module, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda module, given: met.setdefault(module, given[0].detach()))
        for layer in layers
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        layer: x
        for layer, x in met.items()
        if x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() and x.ndim >= 2
    }


def _opened(
    layer: nn.Module, x: Tensor, threads: int, batch: int | None, activations: runtime.Activations
) -> runtime.Session:
    axes = 1 if isinstance(layer, nn.Linear) else x.ndim - 1
    flat = x.reshape(-1, *x.shape[x.ndim - axes :])
    two = flat[:2] if len(flat) > 1 else torch.cat((flat, flat))
    data = artifact.to_bytes(capture(layer, two), coder="raw")
    return runtime.open_bytes(data, name="layer", threads=threads, batch=batch or len(flat), activations=activations)


def _measured(layer: nn.Module, session: runtime.Session, x: Tensor) -> tuple[float, float]:
    """Median seconds of the runtime's layer and of torch's, in turns."""
    ours = AcceleratedLayer(session, 0.0, 0.0)
    times: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for _ in range(ROUNDS):
            for one, taken in zip((ours, layer), times):
                began = time.perf_counter()
                one(x)
                taken.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])
