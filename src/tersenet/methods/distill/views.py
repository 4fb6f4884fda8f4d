"""Augmented pictures that come again, so that a teacher has to answer each of them only once.

After Beyer et al. 2022, arXiv:2106.05237: teacher and student see the same view, which a student that trains on
answers stored for pictures as they are does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tersenet.errors import TersenetError
from tersenet.training import IndexedData
from tersenet.training.augment import Moves, draw_moves, move
from tersenet.training.batches import derive_seed


class Views:
    """`count` augmented views of each example: example j is view j // n of example j % n, ever the same.

    An epoch over it is `count` epochs of the data. View v is what augmenting all of the data at once gives with a
    generator seeded by (seed, v), so that the same data prepared otherwise, for a teacher that reads other pixels,
    moves alike.
    """

    def __init__(
        self, data: IndexedData, count: int, *, augment: str = "flip_crop", pixels: int | None = None, seed: int = 0
    ) -> None:
        if count < 1:
            raise TersenetError(f"{count} views were asked for; at least 1 is needed")
        if count > 1 and augment == "none":
            raise TersenetError(f"{count} views without augmentation are {count} times the same; give one, or augment")
        self.data, self.count = data, count
        self._moves = None if augment == "none" else _moves(len(data), count, augment, pixels, seed)

    def __len__(self) -> int:
        return self.count * len(self.data)

    def batch(self, indices: Any) -> tuple[Tensor, Tensor]:
        """Inputs and targets as the data gives them, the inputs moved."""
        indices = torch.as_tensor(indices)
        rows = indices % max(len(self.data), 1)
        x, y = self.data.batch(rows)
        return (x if self._moves is None else move(x, self._moves.take(indices))), y


def _moves(n: int, count: int, kind: str, pixels: int | None, seed: int) -> Moves:
    """Those of all views, one after the other."""
    generators = [torch.Generator().manual_seed(derive_seed(seed, "view", view)) for view in range(count)]
    views = [draw_moves(n, kind, pixels, generator) for generator in generators]
    down, right = torch.cat([one.down for one in views]), torch.cat([one.right for one in views])
    flips = [one.flip for one in views if one.flip is not None]
    return Moves(kind, views[0].far, down, right, torch.cat(flips) if flips else None)
