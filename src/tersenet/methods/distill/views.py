"""Augmented pictures that come again, so that a teacher has to answer each of them only once.

After Beyer et al. 2022, arXiv:2106.05237: teacher and student see the same view, which a student that trains on
answers stored for pictures as they are does not; and views that are mixed of two pictures (Zhang et al. 2018,
arXiv:1710.09412) show the student more of the teacher than those that both know from their training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.training import IndexedData
from tersenet.training.augment import PIXELS, Moves, draw_moves, move
from tersenet.training.batches import derive_seed


class Views:
    """`count` augmented views of each example: example j is view j // n of example j % n, ever the same.

    An epoch over it is `count` epochs of the data. View v is what augmenting all of the data at once gives with a
    generator seeded by (seed, v), so that the same data prepared otherwise, for a teacher that reads other pixels,
    moves alike.

    mixup   share of the views that are mixed with the same view of another example, of which they take a share drawn
            evenly from 0 to 1/2; the target stays that of the larger part
    """

    def __init__(
        self,
        data: IndexedData,
        count: int,
        *,
        augment: str = "flip_crop",
        pixels: int | None = None,
        mixup: float = 0.0,
        seed: int = 0,
    ) -> None:
        if count < 1:
            raise TersenetError(f"{count} views were asked for; at least 1 is needed")
        if augment not in ("none", *PIXELS):
            raise TersenetError(f"augment {augment} came; views are moved by {', '.join(PIXELS)}, or by none")
        if not 0 <= mixup <= 1:
            raise TersenetError(f"mixup {mixup} came; it is a share of the views, from 0 to 1")
        if count > 1 and augment == "none" and not mixup:
            raise TersenetError(
                f"{count} views without augmentation are {count} times the same; give one, augment, or mix"
            )
        self.data, self.count, self.mixup = data, count, mixup
        self._moves = None if augment == "none" else _moves(len(data), count, augment, pixels, seed)
        self._mixes = _mixes(len(data), count, mixup, seed) if mixup else None

    def __len__(self) -> int:
        return self.count * len(self.data)

    def batch(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Inputs and targets as the data gives them, the inputs moved and mixed."""
        indices = torch.as_tensor(indices)
        x, y = self._moved(indices)
        if self._mixes is not None:
            partners, shares = (of_all[indices] for of_all in self._mixes)
            mixed = shares > 0
            if mixed.any():
                share = shares[mixed].reshape(-1, *(1,) * (x.ndim - 1)).to(x)
                x = x.index_put((mixed,), torch.lerp(x[mixed], self._moved(partners[mixed])[0], share))
        return x, y

    def _moved(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        x, y = self.data.batch(indices % max(len(self.data), 1))
        if self._moves is not None:
            x = move(x, self._moves.take(indices), getattr(self.data, "black", None))
        return x, y


@dataclass(frozen=True)
class ViewAnEpoch:
    """Data that holds `count` views of each example, trained on one view an epoch: epoch e on view e % count.

    So an epoch is one of the examples, in all that counts or shares by epochs and examples.
    """

    data: IndexedData
    count: int
    view: int = 0

    def __len__(self) -> int:
        return len(self.data) // self.count

    def of_epoch(self, number: int) -> ViewAnEpoch:
        return replace(self, view=number % self.count)

    def batch(self, indices: Any) -> tuple[Tensor, Tensor]:
        return self.data.batch(torch.as_tensor(indices) + self.view * len(self))


def _moves(n: int, count: int, kind: str, pixels: int | None, seed: int) -> Moves:
    """Those of all views, one after the other."""
    generators = [torch.Generator().manual_seed(derive_seed(seed, "view", view)) for view in range(count)]
    views = [draw_moves(n, kind, pixels, generator) for generator in generators]
    down, right = torch.cat([one.down for one in views]), torch.cat([one.right for one in views])
    flips = [one.flip for one in views if one.flip is not None]
    return Moves(kind, views[0].far, down, right, torch.cat(flips) if flips else None)


def _mixes(n: int, count: int, mixup: float, seed: int) -> tuple[Tensor, Tensor]:
    """Of all views, one after the other: the view each is mixed with, and the share it takes of that."""
    partners, shares = [], []
    for view in range(count):
        generator = torch.Generator().manual_seed(derive_seed(seed, "mixup", view))
        partners.append(view * n + torch.randperm(n, generator=generator))
        drawn = torch.rand(2, n, generator=generator)
        shares.append(torch.where(drawn[0] < mixup, drawn[1] / 2, 0))
    return torch.cat(partners), torch.cat(shares)
