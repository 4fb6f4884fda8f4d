"""What a run minimises: the loss of a batch, and penalties on the weights."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tersenet.training.config import Regularise, TrainConfig
from tersenet.training.errors import TrainingError


def batch_loss(config: TrainConfig, outputs: Tensor, target: Tensor) -> Float[Tensor, ""]:
    """The mean loss of a batch."""
    if config.loss == "mse":
        return F.mse_loss(outputs, regression_target(outputs, target))
    return F.cross_entropy(outputs, target, label_smoothing=config.label_smoothing)


def regression_target(outputs: Tensor, target: Tensor) -> Tensor:
    """The target in the shape of the outputs; class numbers become one-hot rows."""
    if not target.is_floating_point() and outputs.ndim == target.ndim + 1:
        return F.one_hot(target, outputs.shape[-1]).to(outputs.dtype)
    if target.shape != outputs.shape:
        if target.numel() != outputs.numel():
            raise TrainingError(
                f"the network gives {tuple(outputs.shape)} and the targets are {tuple(target.shape)}; "
                "mse needs equal shapes, or class numbers"
            )
        target = target.reshape(outputs.shape)
    return target.to(outputs.dtype)


def count_correct(outputs: Tensor, target: Tensor) -> Tensor | None:
    """How many predictions are right, as a tensor; None where the targets are no class numbers."""
    if target.is_floating_point() or outputs.ndim != target.ndim + 1:
        return None
    return (outputs.argmax(1) == target).sum()


def weights(model: nn.Module) -> Iterator[Tensor]:
    """The weight of every layer that multiplies, as the layer uses it: from its form, where it has one.

    Biases and normalisations, which have fewer than two dimensions, are left out. A parameter that two layers
    share comes once.
    """
    yield from _weights(model, set())


def _weights(module: nn.Module, seen: set[int]) -> Iterator[Tensor]:
    """`seen` holds ids of modules and parameters, which live on; never of what a form computed."""
    if id(module) in seen:
        return
    seen.add(id(module))
    own = {name: None for name, _ in module.named_parameters(recurse=False)}
    below = dict(module.named_children())
    # A form is the child `<name>_form` of its layer; PyTorch itself has `parametrizations` for such weights.
    own.update(dict.fromkeys(name.removesuffix("_form") for name in below if name.endswith("_form")))
    parametrized = below.pop("parametrizations", None)
    if parametrized is not None:
        own.update(dict.fromkeys(name for name, _ in parametrized.named_children()))
    for name in own:
        weight = getattr(module, name)
        if name.startswith("weight") and weight.ndim >= 2 and id(weight) not in seen:
            if isinstance(weight, nn.Parameter):
                seen.add(id(weight))
            yield weight
    for name, child in below.items():
        if not name.endswith("_form"):
            yield from _weights(child, seen)


def penalty(model: nn.Module, regularise: Regularise) -> Float[Tensor, ""] | None:
    """l1 * sum |w| + l2 * sum w^2 over `weights`, or None where both factors are zero."""
    if not (regularise.l1 or regularise.l2):
        return None
    total: Tensor | None = None
    for weight in weights(model):
        for factor, term in ((regularise.l1, torch.abs), (regularise.l2, torch.square)):
            if factor:
                part = factor * term(weight).sum()
                total = part if total is None else total + part
    if total is None:
        raise TrainingError("regularise is set, but the network has no weight of two or more dimensions; drop it")
    return total
