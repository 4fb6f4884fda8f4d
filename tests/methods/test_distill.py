"""The original network teaches: Hinton et al. 2015, section 2."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.errors import TersenetError
from tersenet.methods.distill import Teacher, soft_target_loss, taught_by
from tersenet.training import TrainConfig, batch_loss

CONFIG = TrainConfig(epochs=1, label_smoothing=0.1)
X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])


def test_the_loss_is_that_of_the_paper_worked_out_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3.0), 0.0]])
    # At T = 2 the teacher says 3/4 and 1/4, the student 1/2 and 1/2.
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(soft_target_loss(student, teacher, 2.0)) == pytest.approx(4 * divergence, rel=1e-5)


def test_a_student_that_answers_as_the_teacher_has_nothing_to_learn():
    logits = torch.randn(5, 7, 3, requires_grad=True)
    loss = soft_target_loss(logits, logits.detach().clone(), 4.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert abs(loss.item()) < 1e-6 and float(gradient.abs().max()) < 1e-6


def test_hot_gradients_are_those_of_matching_logits():
    """For large T the gradient is (z_i - v_i) / N with logits of mean zero (section 2.1)."""
    centred = torch.randn(3, 8, dtype=torch.float64)
    student = (centred - centred.mean(1, keepdim=True)).requires_grad_()
    teacher = torch.randn(3, 8, dtype=torch.float64)
    teacher = teacher - teacher.mean(1, keepdim=True)
    (gradient,) = torch.autograd.grad(soft_target_loss(student, teacher, 1e4), student)
    torch.testing.assert_close(gradient, (student - teacher).detach() / 8 / 3, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_labels_have_their_share(share):
    torch.manual_seed(1)
    student, teacher = nn.Linear(4, 3), nn.Linear(4, 3)
    outputs = student(X)
    loss = taught_by(teacher, Teacher(temperature=3, labels=share), CONFIG)(outputs, Y, X)
    expected = share * batch_loss(CONFIG, outputs, Y) + (1 - share) * soft_target_loss(outputs, teacher(X), 3)
    torch.testing.assert_close(loss, expected)


def test_the_teacher_answers_in_eval_mode_and_does_not_learn():
    teacher = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9))
    criterion = taught_by(teacher, Teacher(labels=0), CONFIG)
    student = nn.Linear(4, 3)
    loss = criterion(student(X), Y, X)
    assert torch.equal(loss, criterion(student(X), Y, X))
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("teacher", [nn.Linear(4, 5), nn.Sequential(nn.Linear(4, 3), nn.Flatten(0))])
def test_other_outputs_are_refused(teacher):
    with pytest.raises(TersenetError, match="the same classes"):
        taught_by(teacher, Teacher(), CONFIG)(F.one_hot(Y, 3).float(), Y, X)


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": -1}, {"labels": 1.5}, {"labels": -0.1}])
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValueError):
        Teacher(**settings)
