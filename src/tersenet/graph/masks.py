"""Weights that torch holds as an original and a mask over it, seen as the one weight that they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod


@contextmanager
def masks_applied(model: nn.Module) -> Iterator[None]:
    """Inside, `weight` is a parameter, zeros in place, where torch.nn.utils.prune or torch.ao.pruning masks it.

    After it every module is what it was, the same tensors and hooks included. A tensor that several modules mask
    alike is one parameter.
    """
    changed = []
    shared: dict[int, list[nn.Parameter]] = {}
    try:
        for module in list(model.modules()):
            kind, attributes = type(module), dict(module.__dict__)
            if _pruning_hooks(module) or _mask_parametrizations(module):
                changed.append((module, kind, attributes))
                _apply(module, shared)
        yield
    finally:
        for module, kind, attributes in changed:
            module.__class__ = kind
            module.__dict__.clear()
            module.__dict__.update(attributes)


def _pruning_hooks(module: nn.Module) -> dict[int, BasePruningMethod]:
    return {key: hook for key, hook in module._forward_pre_hooks.items() if isinstance(hook, BasePruningMethod)}


def _mask_parametrizations(module: nn.Module) -> dict[str, Any]:
    """All parametrizations of a module that has a mask among them."""
    if not is_parametrized(module):
        return {}
    found = dict(cast(nn.ModuleDict, module.parametrizations).items())
    # By its name: it is leaving torch for another package.
    masks = any(type(one).__name__ == "FakeSparsity" for listed in found.values() for one in cast(Any, listed))
    return found if masks else {}


def _apply(module: nn.Module, shared: dict[int, list[nn.Parameter]]) -> None:
    """Fresh containers for the module, in which masked tensors are parameters; the old ones stay as they are."""
    names = vars(module)
    parameters, buffers, children = (dict(names[kind]) for kind in ("_parameters", "_buffers", "_modules"))
    hooks = _pruning_hooks(module)
    for hook in hooks.values():
        name = hook._tensor_name
        original, mask = parameters.pop(f"{name}_orig"), buffers.pop(f"{name}_mask")
        parameters[name] = _once(original, original * mask, shared)
        names.pop(name, None)
    if parametrized := _mask_parametrizations(module):
        for name, listed in parametrized.items():
            parameters[name] = _once(listed.original, getattr(module, name), shared)
        del children["parametrizations"]
        # torch made a class for this module alone, with a property for each such tensor.
        module.__class__ = type(module).__bases__[0]
    # Handles of hooks hold their dictionary weakly, which a plain dict does not allow.
    kept = OrderedDict((key, hook) for key, hook in module._forward_pre_hooks.items() if key not in hooks)
    names |= {"_parameters": parameters, "_buffers": buffers, "_modules": children, "_forward_pre_hooks": kept}


def _once(original: Tensor, masked: Tensor, shared: dict[int, list[nn.Parameter]]) -> nn.Parameter:
    """A parameter of the masked values, the one that was made before from the same original if it has the same."""
    with torch.no_grad():
        values = masked.detach() + 0.0  # a negative weight times 0 is a negative zero
    made = shared.setdefault(id(original), [])
    for one in made:
        if torch.equal(one, values):
            return one
    made.append(nn.Parameter(values, requires_grad=original.requires_grad))
    return made[-1]
