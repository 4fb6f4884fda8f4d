"""Where a network is wrong: how often each class was taken for which, and the examples with the largest loss."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tersenet.training.config import LossName
from tersenet.training.losses import are_labels, binary_target, cross_entropy, distance

MOST_CLASSES = 1000
"""A table of more classes is left out: nobody reads it, and it grows with their square."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example and what the network made of it.

    index       its place in the data, from 0
    true        its class; None where the targets are no classes
    predicted   the class that the network says
    input       as the network reads it
    """

    index: int
    loss: float
    true: int | None
    predicted: int | None
    input: Tensor


class Examination:
    """Goes as `observe` into `evaluate`, and knows afterwards:

    confusion   how many examples of class i (row) were taken for class j (column); None where there are no classes.
                Those of bce with one output are no (0) and yes (1)
    worst       the examples with the largest losses, largest first
    """

    confusion: Int[Tensor, "classes classes"] | None = None

    def __init__(self, loss: LossName, worst: int = 24) -> None:
        self.worst: list[Example] = []
        self._loss = loss
        self._keep = worst
        self._seen = 0

    def __call__(self, x: Tensor, outputs: Tensor, target: Tensor) -> None:
        classes, true, predicted = _classes(outputs, target, self._loss)
        if true is not None and predicted is not None and classes <= MOST_CLASSES:
            counts = torch.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes).cpu()
            self.confusion = counts if self.confusion is None else self.confusion + counts
        losses = example_losses(outputs, target, self._loss)
        largest = losses.topk(min(self._keep, len(losses)))
        for loss, place in zip(largest.values.tolist(), largest.indices.tolist()):
            if len(self.worst) == self._keep and loss <= self.worst[-1].loss:
                break
            self.worst.append(
                Example(
                    index=self._seen + place,
                    loss=loss,
                    true=None if true is None else int(true[place]),
                    predicted=None if predicted is None else int(predicted[place]),
                    input=x[place].detach().cpu().clone(),
                )
            )
            self.worst.sort(key=lambda example: -example.loss)
            del self.worst[self._keep :]
        self._seen += len(x)


def example_losses(outputs: Tensor, target: Tensor, loss: LossName) -> Float[Tensor, " n"]:
    """The loss of each example; of one with several answers their mean."""
    if loss == "cross_entropy":
        losses = cross_entropy(outputs, target, reduction="none")
    else:
        losses = distance(loss, outputs, target, reduction="none")
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def _classes(outputs: Tensor, target: Tensor, loss: LossName) -> tuple[int, Tensor | None, Tensor | None]:
    """How many classes there are, and the true and the predicted one of each example; None where it has not one."""
    if are_labels(outputs, target, loss) and target.ndim == 1:
        return outputs.shape[1], target, outputs.argmax(1)
    if loss == "bce" and outputs.numel() == len(outputs):
        return 2, (binary_target(outputs, target) > 0.5).flatten().long(), (outputs > 0).flatten().long()
    return 0, None, None
