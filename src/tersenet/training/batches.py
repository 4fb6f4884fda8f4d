"""The batches of every epoch, the same ones in the same order whenever the seed is the same.

READ FIRST
  1. Epoch e of seed s depends on nothing but (s, e): not on what ran before.
  2. Data that can be indexed is shuffled and augmented by a generator of our own, which a checkpoint holds.
  3. A loader of the user's is iterated; the global generators are seeded before, and on resume the batches
     that are already done are drawn again and thrown away.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.training.augment import augment
from tersenet.training.config import AFFINE, Affine
from tersenet.training.devices import sent
from tersenet.training.errors import TrainingError

Batch: TypeAlias = tuple[Tensor, Tensor]


@runtime_checkable
class IndexedData(Protocol):
    """Examples that are fetched a batch at a time, by their numbers; the splits of the zoo are such.

    One may also have `black`, the colour (channels, 1, 1) that surrounds its pictures where they are moved: what a
    pixel of zeros became, as if the picture had been padded before it was normalised. Without it that is zero. And
    `of_epoch(number)`, the data of that epoch, of equal length, where epochs differ.
    """

    def __len__(self) -> int: ...

    def batch(self, indices: Int[Tensor, " n"]) -> Batch: ...


Data: TypeAlias = IndexedData | Iterable[Batch]


def derive_seed(seed: int, *path: int | str) -> int:
    """A 63-bit seed for one purpose, far from those of its neighbours."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


class Batches:
    """The batches of one data set for training.

    steps      batches an epoch, or None where the loader does not say
    examples   in one epoch, or None
    """

    def __init__(
        self,
        data: Data,
        *,
        batch_size: int,
        seed: int,
        augment: str = "none",
        augment_pixels: int | None = None,
        affine: Affine = AFFINE,
        cutout: int | None = None,
        drop_single: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        """drop_single leaves out a batch of one example, from which BatchNorm has no variance to learn.

        device   where inputs of indexed data are moved about and are given; targets stay on the CPU
        """
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self._augment = augment
        self._pixels = augment_pixels
        self._affine = affine
        self._cutout = cutout
        self._drop_single = drop_single
        self._device = device
        self._generator = torch.Generator()
        self.indexed = isinstance(data, IndexedData)
        self.examples: int | None = None
        self.steps: int | None = None
        if isinstance(data, IndexedData):
            self.examples = check_not_empty(data, "training")
            self.steps = -(-self.examples // batch_size)
            if drop_single and self.examples % batch_size == 1 % batch_size:
                self.steps -= 1
            if self.steps == 0 or (drop_single and batch_size == 1):
                raise TrainingError(
                    "batches of one example came, but the network has BatchNorm, which needs two or more; "
                    "raise batch_size or give more examples"
                )
        else:
            for name, asked in (("augment", augment), ("cutout", cutout)):
                if asked not in ("none", None):
                    raise TrainingError(f"{name} {asked} works on indexed data; let your loader augment, and drop it")
            if isinstance(data, Sized):
                self.steps = len(data)
                if self.steps == 0:
                    raise TrainingError("the training data is empty: its loader has no batches")

    def epoch(
        self,
        epoch: int,
        *,
        skip: int = 0,
        state: Tensor | None = None,
        resumed: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Step number, inputs and targets of each batch of an epoch, from step `skip` on.

        state     what `state()` gave after step skip - 1
        resumed   called once the first `skip` batches are out of the way: puts the global generators back
        """
        torch.manual_seed(derive_seed(self._seed, epoch, "global"))
        if isinstance(self._data, IndexedData):
            of_epoch = getattr(self._data, "of_epoch", None)
            yield from self._indexed(self._data if of_epoch is None else of_epoch(epoch), epoch, skip, state, resumed)
        else:
            yield from self._loaded(self._data, epoch, skip, resumed)

    def state(self) -> Tensor:
        """The state of the augmenting generator."""
        return self._generator.get_state()

    def _indexed(
        self, data: IndexedData, epoch: int, skip: int, state: Tensor | None, resumed: Callable[[], None]
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        self._generator.manual_seed(derive_seed(self._seed, epoch, "order"))
        order = torch.randperm(len(data), generator=self._generator)
        if state is not None:
            self._generator.set_state(state)
        resumed()
        assert self.steps is not None
        border = getattr(data, "black", None)
        for step in range(skip, self.steps):
            x, y = data.batch(order[step * self._batch_size : (step + 1) * self._batch_size])
            moved = augment(
                sent(x, self._device),
                self._augment,
                self._pixels,
                self._generator,
                affine=self._affine,
                border=border,
                cutout=self._cutout,
            )
            yield step, moved, y

    def _loaded(
        self, data: Iterable[Batch], epoch: int, skip: int, resumed: Callable[[], None]
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        self._seed_loader(derive_seed(self._seed, epoch, "loader"))
        sampler = getattr(data, "sampler", None)
        if sampler is not None and hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        batches = batches_of(data)
        for _ in range(skip):
            next(batches, None)
        if skip:
            resumed()
        empty = skip == 0
        for step, batch in enumerate(batches, skip):
            empty = False
            x, y = check_batch(batch)
            if len(x) > 1 or not self._drop_single:
                yield step, x, y
        if empty:
            raise TrainingError(f"the training data is empty: its loader gave no batches in epoch {epoch + 1}")

    def _seed_loader(self, seed: int) -> None:
        """Every generator that a loader and its transforms may draw from."""
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  # what a user's transforms may draw from
        for holder in (self._data, getattr(self._data, "sampler", None)):
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed)


def batches_of(loader: Iterable[Any]) -> Iterator[Any]:
    """What a loader gives; what its code raises, which can be anything, is told in a sentence with its type."""
    try:
        yield from loader
    except TersenetError:
        raise
    except Exception as error:
        raise TrainingError(f"the data loader raised {type(error).__name__}: {error}") from error


def check_not_empty(data: IndexedData, what: str) -> int:
    """The number of examples; zero is refused."""
    if len(data) == 0:
        raise TrainingError(f"the {what} data is empty; give at least one example")
    return len(data)


def check_batch(batch: Any) -> Batch:
    """A pair of tensors with as many inputs as targets."""
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(t, Tensor) for t in batch)):
        got = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list)) else type(batch).__name__
        raise TrainingError(f"a loader gives batches (x, y) of two tensors; this one gave a {got}")
    x, y = batch
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise TrainingError(f"a batch has inputs of shape {tuple(x.shape)} and targets of shape {tuple(y.shape)}")
    return x, y
