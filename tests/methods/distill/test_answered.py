"""A teacher that is asked once teaches what it says of each view, and is not asked again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.methods.distill import Teacher, answered
from tersenet.training import TrainConfig, fit

CONFIG = TrainConfig(epochs=2, batch_size=4, lr=0.1, augment="flip_crop", augment_pixels=1)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.answer, self.asked = nn.Linear(64, 3), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x)
        return self.answer(x.flatten(1))


def test_each_view_is_asked_about_once(pictures, tmp_path):
    teacher, settings = Counting(), Teacher(views=3, mixup=0.5, labels=0)
    first = answered(teacher, pictures(), settings, CONFIG, tmp_path)
    asked = teacher.asked
    again = answered(teacher, pictures(), settings, CONFIG, tmp_path)
    assert 27 <= asked <= 29 and teacher.asked - asked <= 2  # two more show the shape of an answer
    for epoch in range(3):
        x, target = first.data.of_epoch(epoch).batch(torch.arange(9))
        assert torch.equal(target, again.data.of_epoch(epoch).batch(torch.arange(9))[1])
        with torch.no_grad():
            torch.testing.assert_close(target, teacher(x))
    assert first.config.augment == "none" and first.config.epochs == CONFIG.epochs


def test_fit_takes_it_as_it_is(pictures, tmp_path):
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    taught = answered(Counting(), pictures(), Teacher(views=2), CONFIG, tmp_path)
    more = {"criterion": taught.criterion, "labels_of": taught.labels_of}
    history = fit(student, taught.data, None, taught.config, seed=0, **more)
    assert len(history.epochs) == 2 and history.epochs[-1].train_accuracy is not None


def test_what_has_no_numbers_or_no_views_is_refused(pictures, tmp_path):
    with pytest.raises(TersenetError, match="no numbers"):
        answered(Counting(), [(torch.zeros(2, 1, 8, 8), torch.zeros(2))], Teacher(views=2), CONFIG, tmp_path)
    turned = CONFIG.model_copy(update={"augment": "affine"})
    with pytest.raises(TersenetError, match="views are moved"):
        answered(Counting(), pictures(), Teacher(views=2), turned, tmp_path)
    cut = CONFIG.model_copy(update={"cutout": 2})
    with pytest.raises(TersenetError, match="cutout 2 came"):
        answered(Counting(), pictures(), Teacher(views=2), cut, tmp_path)
