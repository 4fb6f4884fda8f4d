"""What a run minimises: the loss of a batch."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tersenet.training.config import TrainConfig
from tersenet.training.errors import TrainingError


def batch_loss(config: TrainConfig, outputs: Tensor, target: Tensor) -> Float[Tensor, ""]:
    """The mean loss of a batch."""
    if config.loss == "mse":
        return F.mse_loss(outputs, regression_target(outputs, target))
    return cross_entropy(outputs, target, label_smoothing=config.label_smoothing)


def are_labels(outputs: Tensor, target: Tensor) -> bool:
    """Whether the targets are class numbers, the classes being axis 1 of the outputs."""
    return not target.is_floating_point() and outputs.ndim == target.ndim + 1


def check_labels(outputs: Tensor, target: Tensor) -> None:
    """Refuse class numbers that the network does not have.

    Call it before the targets go to a GPU, where a wrong one ends the process and reading one costs a wait.
    """
    if not isinstance(outputs, Tensor):
        raise TrainingError(f"the network gives a {type(outputs).__name__}; it must give one tensor to be scored")
    if not are_labels(outputs, target):
        return
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
    if not are_labels(outputs, target):
        return None
    return (outputs.argmax(1) == target).sum()
