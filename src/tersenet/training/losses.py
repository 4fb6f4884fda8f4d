"""What a run minimises: the loss of a batch."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tersenet.training.config import LossName, TrainConfig
from tersenet.training.errors import TrainingError


def batch_loss(config: TrainConfig, outputs: Tensor, target: Tensor) -> Float[Tensor, ""]:
    """The mean loss of a batch."""
    if config.loss == "cross_entropy":
        return cross_entropy(outputs, target, label_smoothing=config.label_smoothing)
    return distance(config.loss, outputs, target)


def distance(loss: LossName, outputs: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """mse, mae or bce between outputs and targets of one number each.

    bce is the cross-entropy of yes or no for each output by itself, the output being the logit of yes.
    """
    if loss == "bce":
        return F.binary_cross_entropy_with_logits(outputs, binary_target(outputs, target), reduction=reduction)
    function = F.mse_loss if loss == "mse" else F.l1_loss
    return function(outputs, regression_target(outputs, target), reduction=reduction)


def are_labels(outputs: Tensor, target: Tensor, loss: str | None = None) -> bool:
    """Whether the targets are class numbers, the classes being axis 1 of the outputs.

    For bce those of one output are 0 for no and 1 for yes instead.
    """
    numbers = not target.is_floating_point() and target.dtype != torch.bool and outputs.ndim == target.ndim + 1
    return numbers and not (loss == "bce" and outputs.shape[1] == 1)


def check_labels(outputs: Tensor, target: Tensor, loss: str | None = None) -> tuple[int, int] | None:
    """Refuse class numbers that the network does not have, and for bce what is no probability.

    Call it before the targets go to a GPU, where a wrong one ends the process and reading one costs a wait.
    Returns the lowest and the highest class, or None where the targets are no class numbers or there are none.
    """
    if not isinstance(outputs, Tensor):
        raise TrainingError(f"the network gives a {type(outputs).__name__}; it must give one tensor to be scored")
    if not are_labels(outputs, target, loss):
        if loss == "bce":
            _check_probabilities(target)
        return None
    classes = outputs.shape[1]
    if target.dtype != torch.int64 or target.shape[1:] != outputs.shape[2:]:
        raise TrainingError(
            f"the network gives {tuple(outputs.shape)} and the labels are {tuple(target.shape)} of {target.dtype}; "
            "labels are int64, one for each place, and the outputs have the classes as axis 1"
        )
    low, high = (int(label) for label in torch.aminmax(target)) if target.numel() else (0, 0)
    if low < 0 or high >= classes:
        hint = "; none is ignored, -100 neither: leave such examples out" if low < 0 else ""
        raise TrainingError(
            f"a label is {low if low < 0 else high}; the network has {classes} classes, 0 to {classes - 1}{hint}"
        )
    return (low, high) if target.numel() else None


def _check_probabilities(target: Tensor) -> None:
    low, high = (float(value) for value in torch.aminmax(target)) if target.numel() else (0.0, 0.0)
    if not 0 <= low <= high <= 1:
        raise TrainingError(f"targets run from {low:g} to {high:g}; those of bce are 0 or 1, or probabilities between")


def cross_entropy(outputs: Tensor, target: Tensor, **settings: Any) -> Float[Tensor, ""]:
    """PyTorch's, of class numbers or of a probability for each output."""
    places = outputs.shape[:1] + outputs.shape[2:]
    labels = are_labels(outputs, target) and target.shape == places
    if not labels and (target.shape, target.dtype) != (outputs.shape, outputs.dtype):
        raise TrainingError(
            f"the network gives {tuple(outputs.shape)} of {outputs.dtype} and the targets are {tuple(target.shape)} of "
            f"{target.dtype}; cross_entropy needs class numbers {tuple(places)}, or a probability for each output"
        )
    return F.cross_entropy(outputs, target, **settings)


def regression_target(outputs: Tensor, target: Tensor) -> Tensor:
    """The target in the shape of the outputs; class numbers become one-hot rows."""
    if are_labels(outputs, target):
        return F.one_hot(target, outputs.shape[-1]).to(outputs.dtype)
    return _reshaped(outputs, target)


def binary_target(outputs: Tensor, target: Tensor) -> Tensor:
    """Yes as 1 and no as 0 for each output; class numbers of two outputs or more become one-hot rows."""
    return regression_target(outputs, target) if are_labels(outputs, target, "bce") else _reshaped(outputs, target)


def _reshaped(outputs: Tensor, target: Tensor) -> Tensor:
    if target.shape != outputs.shape:
        if target.numel() != outputs.numel():
            raise TrainingError(
                f"the network gives {tuple(outputs.shape)} and the targets are {tuple(target.shape)}; "
                "equal shapes are needed, or class numbers"
            )
        target = target.reshape(outputs.shape)
    return target.to(outputs.dtype)


def count_correct(outputs: Tensor, target: Tensor, loss: str | None = None) -> Tensor | None:
    """How many predictions are right, as a tensor; None where the targets are no classes.

    For bce each output is a prediction of its own: yes above 0, right where the target is above a half.
    """
    if are_labels(outputs, target, loss):
        return (outputs.argmax(1) == target).sum()
    if loss == "bce":
        return ((outputs > 0) == (_reshaped(outputs, target) > 0.5)).sum()
    return None
