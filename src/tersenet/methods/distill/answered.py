"""Everything a student needs to learn from a teacher that is asked once about each view of the training data."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tersenet.errors import TersenetError
from tersenet.methods.distill.settings import Teacher
from tersenet.methods.distill.stored import store_answers
from tersenet.methods.distill.taught import Taught
from tersenet.methods.distill.views import ViewAnEpoch, Views
from tersenet.training import Criterion, IndexedData, TrainConfig


@dataclass(frozen=True)
class Answered:
    """What `fit` is given: fit(student, one.data, validate, one.config, criterion=one.criterion, labels_of=one.labels_of)."""

    data: ViewAnEpoch
    config: TrainConfig
    criterion: Criterion
    labels_of: Callable[[Tensor], Tensor]


def answered(
    teacher: nn.Module,
    data: Any,
    settings: Teacher,
    config: TrainConfig,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    device: str = "cpu",
    on_batch: Callable[[int, int], None] | None = None,
) -> Answered:
    """`settings.views` views of each example, moved as `config.augment` says, with the answers kept in `folder`.

    Answers that are there already are not asked for again. A loader is refused: its examples have no numbers.

    seed       decides how views are moved and mixed
    on_batch   called with the batches answered and their number
    """
    if not isinstance(data, IndexedData):
        raise TersenetError(
            f"a {type(data).__name__} came, whose examples have no numbers to keep answers by; give a split of the "
            "zoo or another object with len() and batch(indices), or ask the teacher at every step"
        )
    if config.augment in ("affine", "flip_affine"):
        raise TersenetError(f"augment {config.augment} came; views are moved by flip, crop, flip_crop, shift, or none")
    if config.cutout is not None:
        raise TersenetError(
            f"cutout {config.cutout} came; the teacher is asked once about whole views: drop it, or views"
        )
    views = Views(
        data, settings.views, augment=config.augment, pixels=config.augment_pixels, mixup=settings.mixup, seed=seed
    )
    kept = store_answers(teacher, views, folder, precision=config.precision, device=device, on_batch=on_batch)
    taught = Taught(views, kept, labelled=settings.label_share > 0)
    config = config.model_copy(update={"augment": "none", "augment_pixels": None})
    return Answered(ViewAnEpoch(taught, settings.views), config, taught.criterion(settings, config), taught.labels)
