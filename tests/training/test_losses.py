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


def test_mae_and_bce_are_pytorch_s():
    outputs, target = torch.randn(6, 4), torch.rand(6, 4)
    absolute, binary = TrainConfig(epochs=1, loss="mae"), TrainConfig(epochs=1, loss="bce")
    assert torch.equal(batch_loss(absolute, outputs, target), F.l1_loss(outputs, target))
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    assert torch.equal(batch_loss(absolute, outputs, classes), F.l1_loss(outputs, torch.eye(4)[classes]))
    loss = F.binary_cross_entropy_with_logits
    assert torch.equal(batch_loss(binary, outputs, target), loss(outputs, target))
    assert torch.equal(batch_loss(binary, outputs, classes), loss(outputs, torch.eye(4)[classes]))
    yes = torch.tensor([0, 1, 1, 0, 1, 0])
    for logits in (outputs[:, :1], outputs[:, 0]):
        for given in (yes, yes.bool(), yes.float(), yes.double()):
            assert torch.equal(batch_loss(binary, logits, given), loss(outputs[:, 0], yes.float()))
    with pytest.raises(TersenetError, match=r"the network gives \(6, 4\) and the targets are \(6, 3\)"):
        batch_loss(binary, outputs, torch.zeros(6, 3))


def test_binary_answers_are_right_on_the_target_s_side_of_zero():
    logits = torch.tensor([[2.0], [-1.0], [0.0], [3.0]])
    assert count_correct(logits, torch.tensor([1, 0, 0, 0]), "bce") == 3
    assert count_correct(logits[:, 0], torch.tensor([1.0, 1.0, 0.3, 0.7]), "bce") == 3
    several = torch.tensor([[1.0, -1.0], [-2.0, 2.0]])
    assert count_correct(several, torch.tensor([[1, 1], [0, 1]]), "bce") == 3
    assert count_correct(several, torch.tensor([0, 1]), "bce") == 2, "class numbers are two outputs' argmax"
    assert count_correct(logits, torch.zeros(4), "mae") is None


@pytest.mark.parametrize("target", [[0.0, 1.5], [-0.1, 1.0], [0.0, float("nan")], [0, 2], [-1, 1]], ids=str)
def test_targets_of_bce_that_are_no_probabilities_are_refused(target):
    with pytest.raises(TersenetError, match="those of bce are 0 or 1, or probabilities between"):
        check_labels(torch.zeros(2, 1), torch.tensor(target), "bce")
    check_labels(torch.zeros(2, 1), torch.tensor([0, 1]), "bce")
    with pytest.raises(TersenetError, match="the network has 3 classes"):
        check_labels(torch.zeros(2, 3), torch.tensor([0, 3]), "bce")
