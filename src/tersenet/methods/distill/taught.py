"""Training data whose targets carry what a teacher answered beside what the labels say.

READ FIRST
  1. A target is one row of float32: first the labels of the example, flattened, then the answers. It goes through the
     loop, and is cut into the processes' parts, as any other target.
  2. Class numbers below 2^24 are exact in float32.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.methods.distill.losses import answer_loss
from tersenet.methods.distill.settings import Teacher
from tersenet.training import Criterion, IndexedData, TrainConfig

EXACT = 2**24


class Taught:
    """Data, and the answers stored for it.

    answers     (examples, ...), row by row those of `data`; only the rows of a batch are read
    labelled    False leaves the targets of the data unread
    """

    def __init__(self, data: IndexedData, answers: np.ndarray, *, labelled: bool = True) -> None:
        if len(data) != len(answers):
            raise TersenetError(f"{len(answers)} answers came for {len(data)} examples; store those of this data")
        self.data, self._answers, self.labelled = data, answers, labelled
        self._width = prod(answers.shape[1:])
        y = data.batch(torch.arange(min(1, len(data))))[1]
        self._label_shape, self._classes = tuple(y.shape[1:]), not y.is_floating_point()

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Any) -> tuple[Tensor, Float[Tensor, "n width"]]:
        """Inputs, and labels and answers side by side."""
        x, y = self.data.batch(indices)
        rows = torch.from_numpy(np.asarray(self._answers[np.asarray(indices, np.int64)], np.float32))
        rows = rows.reshape(len(x), self._width)
        if not self.labelled:
            return x, rows
        if self._classes and y.numel() and int(y.max()) >= EXACT:
            raise TersenetError(f"a label is {int(y.max())}; beside stored answers labels lie below {EXACT:,}")
        return x, torch.cat((y.reshape(len(y), -1).to(torch.float32), rows), 1)

    def labels(self, target: Tensor) -> Tensor:
        """What the data says, as it gave it; the target itself where labels are unread."""
        if not self.labelled:
            return target
        labels = target[:, : -self._width].reshape(len(target), *self._label_shape)
        return labels.long() if self._classes else labels

    def answers(self, target: Tensor) -> Tensor:
        """What the teacher said, (batch, ...)."""
        return target[:, -self._width :].reshape(len(target), *self._answers.shape[1:])

    def criterion(self, settings: Teacher, config: TrainConfig) -> Criterion:
        """The loss for `fit`, which takes `labels` of this as its `labels_of`."""
        if settings.guided:
            raise TersenetError("hint, attention and features need the teacher itself at every step, not its answers")
        if config.augment != "none" or config.cutout is not None:
            changes = f"augment {config.augment}" if config.augment != "none" else f"cutout {config.cutout}"
            raise TersenetError(
                f"{changes} would change the pictures for which answers are stored; set augment none and no cutout, and "
                "store the answers to augmented views"
            )

        def criterion(outputs: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
            labels = self.labels(target) if self.labelled else None
            return answer_loss(settings, config, outputs, self.answers(target), labels)

        return criterion
