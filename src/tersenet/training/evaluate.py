"""How good a network is on data: one frozen record."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tersenet.training.batches import (
    Batch,
    Data,
    IndexedData,
    batches_of,
    check_batch,
    check_not_empty,
)
from tersenet.training.config import LossName
from tersenet.training.devices import resolve_device, sent
from tersenet.training.errors import TrainingError
from tersenet.training.layout import channels_last
from tersenet.training.losses import are_labels, check_labels, count_correct, cross_entropy, distance

Observer: TypeAlias = Callable[[Tensor, Tensor, Tensor], None]

TOP = 5
TOP_FROM_CLASSES = 11
"""Among ten classes or fewer, being among the first five says little."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a network reaches on a data set.

    accuracy   share of right answers, 0 to 1; None for regression, or where a user's metric took its place
    top5       share of answers among the five largest outputs; None up to ten classes
    loss       mean over answers; None beside a metric
    examples   how many inputs were seen; None where a metric went through a loader of unknown length
    metric     what the user's own function gave, larger being better
    """

    accuracy: float | None
    top5: float | None
    loss: float | None
    examples: int | None
    metric: float | None = None

    @property
    def quality(self) -> float:
        """The one number to keep up while compressing: the metric, the accuracy, or minus the loss."""
        for value in (self.metric, self.accuracy):
            if value is not None:
                return value
        assert self.loss is not None
        return -self.loss


def evaluate(
    model: nn.Module,
    data: Data,
    *,
    batch_size: int = 256,
    metric: Callable[[nn.Module, Any], float] | None = None,
    device: str | torch.device = "cpu",
    loss: LossName | None = None,
    on_batch: Callable[[int, int | None], None] | None = None,
    observe: Observer | None = None,
) -> Score:
    """Score `model` on all of `data`, in evaluation mode, which is left as it was found.

    metric     fn(model, loader) -> float in place of accuracy and loss; the loader gives (x, y) batches, as
               often as it is asked
    loss       by default mse where the targets are floats, which are no class numbers, else cross_entropy
    on_batch   called with the batches done and their number, None where it is not known
    observe    called with the inputs, outputs and targets of each batch that is scored
    """
    device = resolve_device(device)
    loader = EvaluationLoader(data, batch_size, on_batch)
    model.to(device)
    frozen = getattr(model, "frozen_weights", nullcontext)
    with _evaluation_mode(model), torch.no_grad(), frozen():
        if metric is not None:
            value = float(metric(model, loader))
            if not isfinite(value):
                raise TrainingError(f"the metric gave {value}; it must give a finite number")
            return Score(accuracy=None, top5=None, loss=None, examples=loader.examples, metric=value)
        return _classify(model, loader, device, loss, observe)


class EvaluationLoader:
    """(x, y) batches of a data set in its own order; can be iterated again."""

    def __init__(self, data: Data, batch_size: int, on_batch: Callable[[int, int | None], None] | None = None) -> None:
        self._data = data
        self._batch_size = batch_size
        self._on_batch = on_batch
        self.examples = check_not_empty(data, "evaluation") if isinstance(data, IndexedData) else None

    def __len__(self) -> int:
        if self.examples is not None:
            return (self.examples + self._batch_size - 1) // self._batch_size
        return len(self._data)  # type: ignore[arg-type]  # as a loader that has no length would say itself

    def __iter__(self) -> Iterator[Batch]:
        steps = len(self) if hasattr(self._data, "__len__") else None
        done = 0
        for batch in self._batches():
            yield batch
            done += 1
            if self._on_batch is not None:
                self._on_batch(done, steps)
        if done == 0:
            raise TrainingError("the evaluation data is empty: its loader gave no batches")

    def _batches(self) -> Iterator[Batch]:
        if isinstance(self._data, IndexedData):
            for start in range(0, len(self._data), self._batch_size):
                yield self._data.batch(torch.arange(start, min(start + self._batch_size, len(self._data))))
        else:
            for batch in batches_of(self._data):
                yield check_batch(batch)


def _classify(
    model: nn.Module,
    loader: EvaluationLoader,
    device: torch.device,
    loss: LossName | None,
    observe: Observer | None,
) -> Score:
    waiting: list[tuple[Tensor, Tensor, Tensor | None, Tensor | None]] = []
    examples, answers, classes = 0, 0, 0
    for x, y in loader:
        outputs = model(channels_last(sent(x, device)))
        check_labels(outputs, y, loss)
        y = sent(y, device)
        examples += len(x)
        summed, count = _summed_loss(outputs, y, loss)
        answers += count
        among: Tensor | None = None
        if are_labels(outputs, y, loss):
            classes = outputs.shape[1]
            if classes >= TOP_FROM_CLASSES:
                among = (outputs.topk(TOP, 1).indices == y.unsqueeze(1)).sum()
        waiting.append((summed, (~torch.isfinite(outputs)).sum(), count_correct(outputs, y, loss), among))
        if observe is not None:
            observe(x, outputs, y)
    # Read at the end: each reading waits for a GPU.
    loss_sum = 0.0
    for summed, *_ in waiting:
        loss_sum += float(summed)
    bad = sum(int(one) for _, one, *_ in waiting)
    right = [int(one) for _, _, one, _ in waiting if one is not None]
    first = [int(one) for *_, one in waiting if one is not None]
    if bad:
        raise TrainingError(
            f"{bad} outputs of the network are NaN or infinite over {examples} examples; "
            "such a network cannot be scored: look for NaN weights, or inputs that are not normalised"
        )
    return Score(
        accuracy=sum(right) / answers if right else None,
        top5=sum(first) / answers if classes >= TOP_FROM_CLASSES else None,
        loss=loss_sum / answers,
        examples=examples,
    )


def _summed_loss(outputs: Tensor, target: Tensor, loss: LossName | None) -> tuple[Tensor, int]:
    """Summed over answers, and how many these are; a distance is first averaged over the outputs of an answer."""
    if loss is None:
        loss = "mse" if target.is_floating_point() else "cross_entropy"
    if loss == "cross_entropy":
        return cross_entropy(outputs, target, reduction="sum"), outputs.numel() // outputs.shape[1]
    return distance(loss, outputs, target) * target.numel(), target.numel()


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
