"""A teacher that is asked at every step: Hinton et al. 2015, section 2."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.errors import TersenetError
from tersenet.methods.distill import Teacher, soft_target_loss, taught_by
from tersenet.training import TrainConfig, batch_loss

CONFIG = TrainConfig(epochs=1, label_smoothing=0.1)
X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])


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
