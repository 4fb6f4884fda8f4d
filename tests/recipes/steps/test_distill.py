"""A recipe whose network learns from another one, or from what it was."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods.distill import as_teacher
from tersenet.recipes import Recipe, Task, parse, run
from tersenet.recipes.steps.distill import Distill

TRAIN = {"epochs": 20, "batch_size": 16, "lr": 0.1}


class Points:
    """Random points whose labels say nothing."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(64, 6, generator=generator)
        self.y = torch.randint(0, 3, (64,), generator=generator)

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


DATA = Points()


def student(seed: int = 1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return capture(nn.Linear(6, 3), DATA.x[:2])


def recipe(**teacher) -> Recipe:
    return Recipe.model_validate(
        {"name": "taught", "steps": [{"id": "distill", "train": TRAIN, "teacher": teacher}], "coder": "raw"}
    )


def answers(data: bytes):
    return artifact.from_contents(decode(data))(DATA.x)


def test_the_step_reads_from_yaml_with_a_teacher_unasked():
    found = parse("steps: [{id: distill, train: {epochs: 1}}]", "a.yaml")
    assert isinstance(found.steps[0], Distill) and found.steps[0].teacher.loss == "soft" and found.trains
    with pytest.raises(TersenetError, match="train"):
        parse("steps: [{id: distill}]", "a.yaml")


@pytest.mark.parametrize("settings", [{"loss": "logits"}, {"loss": "soft", "labels": 0}, {"loss": "values"}])
def test_a_student_becomes_its_teacher(tmp_path, settings):
    teacher = as_teacher([student(2), student(3)])
    task = Task(recipe=recipe(**settings), train=DATA, run_dir=tmp_path, teacher=teacher)
    data, _ = run(student(), task)
    with torch.no_grad():
        taught, learnt, before = teacher(DATA.x), answers(data), student()(DATA.x)
    centred = [one - one.mean(1, keepdim=True) for one in (taught, learnt, before)]
    assert float((centred[0] - centred[1]).norm()) < 0.2 * float((centred[0] - centred[2]).norm())


def test_without_another_teacher_the_network_teaches_itself_and_stays(tmp_path):
    data, _ = run(student(), Task(recipe=recipe(loss="logits"), train=DATA, run_dir=tmp_path))
    torch.testing.assert_close(answers(data), student()(DATA.x))


def test_a_teacher_asked_once_about_each_view_teaches_as_well_and_leaves_its_answers(tmp_path):
    teacher = student(2)
    asked, _ = run(
        student(), Task(recipe=recipe(loss="logits"), train=DATA, run_dir=tmp_path / "live", teacher=teacher)
    )
    task = Task(recipe=recipe(loss="logits", views=1), train=DATA, run_dir=tmp_path / "once", teacher=teacher)
    once, record = run(student(), task)
    torch.testing.assert_close(answers(once), answers(asked))
    assert len(record.stages[0]["history"]) == TRAIN["epochs"]
    assert len(list((tmp_path / "once" / "answers").glob("*.npy"))) == 1


def test_another_teacher_is_another_run(tmp_path):
    task = Task(recipe=recipe(loss="logits"), train=DATA, run_dir=tmp_path, teacher=student(2))
    run(student(), task)
    with pytest.raises(TersenetError, match="belongs to another run"):
        run(student(), dataclasses.replace(task, teacher=student(3)))


def test_a_teacher_without_a_pupil_is_refused(tmp_path):
    alone = Recipe.model_validate({"name": "alone", "steps": [{"id": "train", "train": TRAIN}]})
    with pytest.raises(TersenetError, match="no step of recipe alone learns"):
        run(student(), Task(recipe=alone, train=DATA, run_dir=tmp_path, teacher=student(2)))


@pytest.mark.parametrize("guide", ["hint", "features"])
def test_any_step_learns_from_what_goes_on_inside(tmp_path, guide):
    steps = [{"id": "prune", "keep": 0.5, "train": TRAIN | {"epochs": 2}, "teacher": {guide: {"layers": ["0:0"]}}}]
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    asked = Recipe.model_validate({"name": "guided", "steps": steps, "coder": "raw"})
    data, record = run(capture(model, DATA.x[:2]), Task(recipe=asked, train=DATA, run_dir=tmp_path))
    kept = artifact.from_contents(decode(data)).dense("0.weight")
    assert int((kept != 0).sum()) <= 24 and len(record.stages[0]["history"]) == 2
