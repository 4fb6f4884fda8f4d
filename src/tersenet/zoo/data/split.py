"""Examples in memory, and the three parts that a data set falls into.

READ FIRST
  1. Images stay uint8 until a batch is asked for; only the batch becomes float32.
  2. A validation part is always held out of the training part, never out of the test part.
  3. Held-out rows are drawn with RandomState, whose streams numpy has frozen (NEP 19), so that the
     same rows are held out for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tersenet.zoo.data.errors import DataError, DataMissing
from tersenet.zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor

SPLIT_SEED = 0
# Targets that count for nothing: what cross entropy ignores by default.
IGNORED = -100


@dataclass(frozen=True)
class Split:
    """Examples `x` and targets `y`, row by row.

    x           uint8 or float32 images (n, c, h, w), or int64 tokens (n, t)
    y           int64 classes (n,), or tokens (n, t)
    classes     targets lie in [0, classes); IGNORED is allowed among tokens
    preprocess  from x to what a network reads
    """

    x: np.ndarray
    y: np.ndarray
    classes: int
    preprocess: Preprocess = field(default_factory=Preprocess)

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise DataError(f"{len(self.x)} examples but {len(self.y)} labels; there must be one label an example")
        if len(self.x) == 0:
            raise DataError("no examples: the set is empty")
        if self.y.dtype != np.int64 or self.x.dtype not in (np.uint8, np.float32, np.int64):
            raise DataError(
                f"examples of {self.x.dtype} and labels of {self.y.dtype}; "
                "examples are uint8, float32 or int64, labels int64"
            )
        labels = self.y[self.y != IGNORED] if self.y.ndim > 1 else self.y
        if labels.size and not 0 <= labels.min() <= labels.max() < self.classes:
            wrong = int(labels.min()) if labels.min() < 0 else int(labels.max())
            raise DataError(f"a label is {wrong}; labels of {self.classes} classes are 0 to {self.classes - 1}")
        if self.x.dtype == np.float32 and not np.isfinite(self.x).all():
            raise DataError("an example holds NaN or infinite values; clean the data first")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example as a batch gives it."""
        return self.preprocess.output_shape(self.x.shape[1:])

    @property
    def black(self) -> Tensor | None:
        """What a stored pixel of zeros is in a batch, (c, 1, 1); None where the examples are no images."""
        return self.preprocess.black(self.x.shape[1]) if self.x.ndim == 4 else None

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor | range | slice) -> tuple[Tensor, Tensor]:
        """The examples at `indices`, preprocessed: float32 images (or int64 tokens) and int64 targets."""
        import torch

        rows: Any = indices if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        x, y = torch.from_numpy(np.array(self.x[rows])), torch.from_numpy(np.array(self.y[rows]))
        return (x if x.dtype == torch.int64 else self.preprocess.apply(x)), y

    def batches(self, size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """All examples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def take(self, indices: Sequence[int] | np.ndarray | range) -> Split:
        """The split of these rows alone."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(self, x=self.x[rows], y=self.y[rows])


@dataclass(frozen=True)
class Data:
    """A data set: its splits by name, and why a split is not there.

    `train`, `validate` and `test` give the split or raise DataMissing with the reason.
    """

    name: str
    splits: Mapping[str, Split]
    classes: int
    class_names: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.splits:
            why = "; ".join(dict.fromkeys(self.absent.values())) or "it has no split at all"
            raise DataMissing(f"{self.name} has none of the parts asked for: {why}")

    @property
    def train(self) -> Split:
        """What a network learns from."""
        return self._split("train")

    @property
    def validate(self) -> Split:
        """Held out of training, to choose by."""
        return self._split("validate")

    @property
    def test(self) -> Split:
        """Never looked at before the end."""
        return self._split("test")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example as a batch gives it."""
        return next(iter(self.splits.values())).input_shape

    def _split(self, name: str) -> Split:
        if name not in self.splits:
            reason = self.absent.get(name, "this data set has no such part")
            raise DataMissing(f"{self.name} has no {name} part here: {reason}")
        return self.splits[name]


def held_out(count: int, validate: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and the `validate` last ones of a fixed permutation, both in rising order."""
    if not 0 < validate < count:
        raise DataError(f"{validate} of {count} examples cannot be held out; both parts need at least one")
    order = np.random.RandomState(SPLIT_SEED).permutation(count)
    return np.sort(order[:-validate]), np.sort(order[-validate:])
