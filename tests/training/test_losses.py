"""What is minimised: the loss of a batch."""

import pytest
import torch
import torch.nn.functional as F

from tersenet.errors import TersenetError
from tersenet.training.config import TrainConfig
from tersenet.training.losses import batch_loss, check_labels, count_correct


def test_losses_are_those_of_their_names():
    outputs, target = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    smooth = TrainConfig(epochs=1, label_smoothing=0.1)
    squared = TrainConfig(epochs=1, loss="mse")
    assert torch.equal(batch_loss(smooth, outputs, target), F.cross_entropy(outputs, target, label_smoothing=0.1))
    one_hot = torch.eye(4)[target]
    assert torch.equal(batch_loss(squared, outputs, target), F.mse_loss(outputs, one_hot))
    assert torch.equal(batch_loss(squared, outputs[:, :1], one_hot[:, 0]), F.mse_loss(outputs[:, 0], one_hot[:, 0]))
    with pytest.raises(TersenetError, match=r"the network gives \(5, 4\) and the targets are \(5, 3\)"):
        batch_loss(squared, outputs, torch.zeros(5, 3))


def test_right_answers_are_counted_for_class_numbers_only():
    outputs = torch.eye(3)
    assert count_correct(outputs, torch.tensor([0, 1, 0])) == 2
    assert count_correct(outputs, torch.eye(3)) is None
    assert count_correct(torch.eye(3).reshape(1, 3, 3), torch.tensor([[0, 1, 1]])) == 2


@pytest.mark.parametrize(
    ("label", "said"), [(-100, "a label is -100; .* -100 neither"), (-1, "a label is -1; .*"), (3, "a label is 3; .*")]
)
@pytest.mark.parametrize("shape", [(4,), (4, 2, 2)])
def test_a_label_that_is_no_class_is_refused_with_the_classes_there_are(label, said, shape):
    target = torch.zeros(shape, dtype=torch.int64)
    outputs = torch.zeros(4, 3, *shape[1:])
    check_labels(outputs, target)
    target.view(-1)[-1] = label
    with pytest.raises(TersenetError, match=said.replace(".*", "the network has 3 classes, 0 to 2.*")):
        check_labels(outputs, target)


def test_targets_that_are_no_labels_pass_the_check_of_labels():
    check_labels(torch.zeros(4, 3), torch.full((4, 3), -7.0))
    check_labels(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize(
    ("outputs", "target", "said"),
    [
        ((torch.zeros(4, 3),), torch.zeros(4, dtype=torch.int64), "the network gives a tuple"),
        (torch.zeros(4, 3), torch.zeros(4, dtype=torch.int32), "of torch.int32; labels are int64"),
        (torch.zeros(2, 5, 9), torch.zeros(2, 5, dtype=torch.int64), "have the classes as axis 1"),
    ],
)
def test_labels_that_cannot_be_scored_are_refused(outputs, target, said):
    with pytest.raises(TersenetError, match=said):
        check_labels(outputs, target)


@pytest.mark.parametrize(
    "target",
    [
        torch.zeros(4),
        torch.zeros(4, 1, dtype=torch.int64),
        torch.zeros(5, dtype=torch.int64),
        torch.zeros(4, 3).double(),
    ],
    ids=["floats", "a column", "too many", "doubles"],
)
def test_cross_entropy_of_targets_that_do_not_fit_says_what_fits(target):
    with pytest.raises(TersenetError, match=r"cross_entropy needs class numbers \(4,\), or a probability for each"):
        batch_loss(TrainConfig(epochs=1), torch.zeros(4, 3), target)
