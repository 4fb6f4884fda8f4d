"""A plain container of tensors, so that a rebuilt network has the names of the original one.

READ FIRST
  1. A weight is either a dense parameter or a form, never both; the form of `weight` is the child
     `weight_form`.
  2. Reading a weight that has a form computes the dense value; assigning to it is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError

FORM = "_form"


class Layer(nn.Module):
    """Tensors, forms and further layers by name."""

    def form_of(self, leaf: str) -> nn.Module | None:
        """The form behind this weight, or nothing where it is dense."""
        return self._modules.get(leaf + FORM)

    def __getattr__(self, name: str) -> Any:
        form = self.__dict__.get("_modules", {}).get(name + FORM)
        if form is not None and name not in self._parameters:
            return form()
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        form = self.__dict__.get("_modules", {}).get(name + FORM)
        if form is not None and name not in self._parameters:
            raise TersenetError(f"weight '{name}' is stored as {type(form).__name__}; detach it first")
        super().__setattr__(name, value)

    def forward(self) -> None:
        raise TersenetError("a layer of a rebuilt network holds tensors; call the network itself")


def put(layer: Layer, leaf: str, tensor: Tensor, *, buffer: bool) -> None:
    """Hang a tensor into a layer, also where the layer has a method of that name."""
    if buffer or not (tensor.is_floating_point() or tensor.is_complex()):
        layer._parameters.pop(leaf, None)
        layer._buffers[leaf] = tensor.detach()
        return
    trains = tensor.requires_grad if isinstance(tensor, nn.Parameter) else True
    layer._buffers.pop(leaf, None)
    layer._parameters[leaf] = nn.Parameter(tensor.detach(), requires_grad=trains)


def read(layer: Layer, leaf: str) -> Tensor:
    """The tensor a forward pass uses: the parameter, the buffer, or what the form computes."""
    found: Any = layer._parameters.get(leaf)
    if found is None:
        found = layer._buffers.get(leaf)
    if found is None:
        form = layer._modules.get(leaf + FORM)
        if form is None:
            raise TersenetError(
                f"tensor '{leaf}' is no longer there; a network must keep the tensors it was built with"
            )
        found = form()
    assert isinstance(found, torch.Tensor)
    return found
