"""A student learns what goes on inside its teacher; regressors train, resume, and leave no trace in it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.distill import Teacher, as_teacher, lesson
from tersenet.training import TrainConfig, fit
from tersenet.training.evaluate import evaluate

CONFIG = TrainConfig(epochs=4, batch_size=8, lr=0.05)


def mlp(width: int, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))


def weights(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def learn(student, teacher, data, settings, config=CONFIG, **more):
    taught = lesson(student, teacher, settings, config, data.x[:2])
    history = fit(taught.model, data, more.pop("validate", None), config, seed=0, criterion=taught.criterion, **more)
    return taught, history


HINT = Teacher(loss="none", labels=0, hint={"layers": ["1:1"]})


@pytest.mark.parametrize("network", [lambda model, x: model, capture], ids=["module", "network"])
def test_a_hint_teaches_the_layers_below_it_and_no_others(points, network):
    data = points()
    student, teacher = network(mlp(5, 1), data.x), network(mlp(7, 2), data.x)
    before = copy.deepcopy(student.state_dict())
    settings = HINT if isinstance(student, nn.Sequential) else Teacher(loss="none", hint={"layers": ["0:0"]})
    _, history = learn(student, teacher, data, settings)
    losses = [epoch.train_loss for epoch in history.epochs]
    assert losses[-1] < losses[0]
    after = student.state_dict()
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["2.weight"], before["2.weight"]) and set(after) == set(before)


def test_layers_pair_themselves_and_are_said(points):
    data = points()
    taught, _ = learn(mlp(5, 1), mlp(7, 2), data, Teacher(hint={}))
    assert taught.pairs == (("hint", "1", "1"),)
    assert lesson(mlp(5, 1), mlp(7, 2), Teacher(), CONFIG, data.x[:2]).pairs == ()


def test_features_pull_a_student_to_its_teacher(points):
    data, student, teacher = points(), mlp(5, 1), mlp(5, 2)
    _, history = learn(student, teacher, data, Teacher(loss="none", labels=0.5, features={"weight": 10}))
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_attention_works_on_pictures_in_bfloat16_too(pictures):
    data = pictures()
    student, teacher = (
        nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, 3)) for width in (2, 4)
    )
    config = TrainConfig(epochs=2, batch_size=4, precision="bfloat16")
    taught, _ = learn(student, teacher, data, Teacher(attention={}), config)
    assert taught.pairs == (("attention", "1", "1"),)


def test_a_cut_lesson_ends_in_the_same_bytes(tmp_path, points):
    data, teacher = points(), mlp(7, 2)
    whole, cut, again = mlp(5, 1), mlp(5, 1), mlp(5, 1)
    settings = Teacher(hint={})
    learn(whole, teacher, data, settings)
    steps = []

    def stop(event):
        steps.append(event)
        if len(steps) == 7:
            raise KeyboardInterrupt

    more = {"checkpoint": tmp_path / "a.ckpt", "event_every_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        learn(cut, teacher, data, settings, on_event=stop, **more)
    learn(again, teacher, data, settings, **more)
    assert weights(again) == weights(whole) != weights(cut)


def test_penalties_and_hooks_see_the_student_alone(points):
    data, student = points(), mlp(5, 1)
    seen = []
    config = TrainConfig(epochs=1, batch_size=8, regularise={"l1": 1e-3, "where": "0"})
    learn(student, mlp(7, 2), data, Teacher(hint={}), config, after_step=lambda model, done: seen.append(model))
    assert seen and all(model is student for model in seen)


def test_a_lesson_is_validated_as_its_student(points):
    data, student = points(), mlp(5, 1)
    _, history = learn(student, mlp(7, 2), data, Teacher(hint={}), validate=data)
    assert history.epochs[-1].validation_accuracy == evaluate(student, data).accuracy


def test_the_teacher_stays_as_it_was(points):
    data, teacher = points(), nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)).train()
    before = weights(teacher)
    learn(mlp(5, 1), teacher, data, Teacher(hint={"layers": ["0:1"]}))
    assert weights(teacher) == before and all(one.grad is None for one in teacher.parameters())


def test_what_does_not_fit_is_refused_before_training(points):
    data = points()
    for settings, teacher, why in (
        (Teacher(), nn.Linear(4, 5), r"answers \(2, 5\), the student \(2, 3\)"),
        (Teacher(hint={"layers": ["0:nothing"]}), mlp(7, 2), "no layer 'nothing'"),
        (Teacher(hint={}), as_teacher(lambda x: x[:, :3]), "can be matched for hint"),
        (Teacher(attention={}), mlp(7, 2), "can be matched for attention"),
        (Teacher(hint={}), as_teacher([mlp(7, 2), mlp(7, 3)]), "an ensemble of 2 was given"),
    ):
        with pytest.raises(TersenetError, match=why):
            lesson(mlp(5, 1), teacher, settings, CONFIG, data.x[:2])
    # A teacher of other classes may still give hints.
    lesson(mlp(5, 1), nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 9)), HINT, CONFIG, data.x[:2])
