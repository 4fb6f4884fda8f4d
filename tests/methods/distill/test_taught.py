"""Stored answers teach as the teacher itself would, accuracy counts labels, and a cut run ends in the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.methods.distill import Taught, Teacher, Views, store_answers, taught_by
from tersenet.training import TrainConfig, fit

CONFIG = TrainConfig(epochs=3, batch_size=8, lr=0.1)
SETTINGS = Teacher(temperature=2, labels=0.3)


def train(student, taught, config=CONFIG, settings=SETTINGS, **more):
    criterion = taught.criterion(settings, config)
    return fit(student, taught, None, config, seed=0, criterion=criterion, labels_of=taught.labels, **more)


def weights(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def test_stored_answers_teach_as_the_teacher_itself(tmp_path, points, linear):
    data, teacher = points(), linear(9)
    live, stored = linear(1), linear(1)
    expected = fit(live, data, None, CONFIG, seed=0, criterion=taught_by(teacher, SETTINGS, CONFIG))
    history = train(stored, Taught(data, store_answers(teacher, data, tmp_path)))
    torch.testing.assert_close(stored.state_dict(), live.state_dict())
    assert [one.train_accuracy for one in history.epochs] == [one.train_accuracy for one in expected.epochs]
    assert history.epochs[-1].train_accuracy is not None


def test_views_have_their_own_answers(tmp_path, pictures):
    data = pictures()
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    views = Views(data, 2)
    taught = Taught(views, store_answers(teacher, views, tmp_path))
    x, target = taught.batch(torch.tensor([17, 0, 9]))
    with torch.no_grad():
        torch.testing.assert_close(taught.answers(target), teacher(x))
    assert torch.equal(taught.labels(target), data.y[[8, 0, 0]])


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 2)])
def test_labels_and_answers_of_any_shape_come_back_as_they_went_in(shape, points):
    data = points(n=6)
    data.y = torch.randint(0, 2**24, (6, *shape[1:]))
    answers = np.random.default_rng(0).standard_normal((6, *shape)).astype(np.float32)
    taught = Taught(data, answers)
    _, target = taught.batch([4, 2])
    assert torch.equal(taught.labels(target), data.y[[4, 2]])
    assert taught.answers(target).numpy().tobytes() == answers[[4, 2]].tobytes()


def test_regression_targets_come_back_too(points):
    data = points(n=6)
    data.y = torch.randn(6)
    taught = Taught(data, np.arange(6, dtype=np.float16))
    _, target = taught.batch([1, 5])
    assert torch.equal(taught.labels(target), data.y[[1, 5]]) and taught.answers(target).tolist() == [1, 5]


def test_unlabelled_data_teaches(tmp_path, points, linear):
    data, teacher = points(), linear(9)
    data.y = torch.full_like(data.y, -1)  # which as labels would be refused
    taught = Taught(data, store_answers(teacher, data, tmp_path), labelled=False)
    history = train(linear(1), taught, settings=Teacher(labels=0))
    assert history.epochs[-1].train_loss < 0.5 * history.epochs[0].train_loss
    assert history.epochs[-1].train_accuracy is None
    with pytest.raises(TersenetError, match="set labels: 0"):
        train(linear(1), taught)


def test_a_cut_run_ends_in_the_same_bytes(tmp_path, points, linear):
    data, teacher = points(), linear(9)
    taught = Taught(data, store_answers(teacher, data, tmp_path))
    whole, cut = linear(1), linear(1)
    train(whole, taught)
    steps = []

    def stop(event):
        steps.append(event)
        if len(steps) == 6:
            raise KeyboardInterrupt

    settings = {"checkpoint": tmp_path / "a.ckpt", "event_every_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        train(cut, taught, on_event=stop, **settings)
    again = linear(1)
    train(again, taught, **settings)
    assert weights(again) == weights(whole) != weights(cut)


def test_what_does_not_fit_is_refused(points, linear):
    data = points(n=6)
    with pytest.raises(TersenetError, match="5 answers came for 6 examples"):
        Taught(data, np.zeros((5, 3), np.float32))
    taught = Taught(data, np.zeros((6, 4), np.float32))
    with pytest.raises(TersenetError, match="the same classes"):
        train(linear(0), taught)
    with pytest.raises(TersenetError, match="set augment none"):
        taught.criterion(SETTINGS, TrainConfig(epochs=1, augment="shift"))
    with pytest.raises(TersenetError, match="cutout 2 would change the pictures"):
        taught.criterion(SETTINGS, TrainConfig(epochs=1, cutout=2))
    with pytest.raises(TersenetError, match="need the teacher itself"):
        taught.criterion(Teacher(hint={}), CONFIG)
    data.y = torch.full((6,), 2**24)
    with pytest.raises(TersenetError, match="labels lie below"):
        taught.batch([0])
