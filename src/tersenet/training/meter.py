"""The running loss and accuracy of an epoch, gathered without waiting for the device at every step."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from torch import Tensor

from tersenet.training.devices import OneProcess
from tersenet.training.errors import TrainingError


@dataclass(frozen=True)
class Sums:
    """Sums over the examples of an epoch so far.

    loss       of the examples' losses
    correct    right predictions, or None where the targets are no class numbers
    examples   inputs, counted once each
    answers    targets, of which a sequence has many
    """

    loss: float = 0.0
    correct: int | None = None
    examples: int = 0
    answers: int = 0

    @property
    def mean_loss(self) -> float:
        return self.loss / max(self.examples, 1)

    @property
    def accuracy(self) -> float | None:
        return None if self.correct is None else self.correct / max(self.answers, 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Meter:
    """This process's own sums; they are added in order in Python's doubles, so that reading them in between
    does not change them.
    """

    def __init__(self, sums: Sums = Sums()) -> None:
        self._sums = sums
        self._waiting: list[tuple[int, Tensor, Tensor | None, int, int]] = []

    def add(self, step: int, loss: Tensor, correct: Tensor | None, examples: int, answers: int) -> None:
        """Note the mean loss of a step; nothing is computed yet."""
        self._waiting.append((step, loss.detach(), correct, examples, answers))

    def read(self, epoch: int, devices: OneProcess) -> Sums:
        """The sums over all processes. A loss that is not finite ends the run."""
        total, correct, examples, answers = (
            self._sums.loss, self._sums.correct, self._sums.examples, self._sums.answers
        )  # fmt: skip
        bad: tuple[int, float] | None = None
        for step, loss, right, n, m in self._waiting:
            value = float(loss)
            if bad is None and not isfinite(value):
                bad = (step, value)
            total, examples, answers = total + value * n, examples + n, answers + m
            if right is not None:
                correct = (correct or 0) + int(right)
        self._waiting.clear()
        if bad is not None:
            raise TrainingError(
                f"epoch {epoch + 1}, step {bad[0] + 1}: the loss is {bad[1]}; "
                "lower lr, set clip_grad_norm, or look for NaN in the data"
            )
        self._sums = Sums(total, correct, examples, answers)
        if devices.processes == 1:
            return self._sums
        sums = devices.total([total, correct or 0, examples, answers])
        return Sums(sums[0], None if correct is None else int(sums[1]), int(sums[2]), int(sums[3]))
