"""What is minimised: the loss of a batch, and penalties on weights alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from tersenet.errors import TersenetError
from tersenet.training.config import Regularise, TrainConfig
from tersenet.training.losses import batch_loss, check_labels, count_correct, penalty, weights


def test_penalties_sum_over_weights_and_leave_biases_and_normalisation_out():
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(-2.0)
    got = penalty(net, Regularise(l1=0.5, l2=0.25))
    elements = 2 * 4 + 3 * 2
    assert got.item() == 0.5 * 2 * elements + 0.25 * 4 * elements
    assert penalty(net, Regularise()) is None


def test_the_gradient_of_a_penalty_is_that_of_its_formula():
    net = nn.Linear(3, 2)
    penalty(net, Regularise(l1=0.5, l2=0.25)).backward()
    assert torch.allclose(net.weight.grad, 0.5 * net.weight.sign() + 0.5 * net.weight)
    assert net.bias.grad is None


def test_a_weight_shared_by_two_layers_is_penalised_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert len(list(weights(nn.Sequential(first, second, first)))) == 1


def test_a_weight_that_is_computed_is_penalised_as_the_layer_uses_it():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    found = list(weights(nn.Sequential(layer)))
    assert len(found) == 1 and torch.equal(found[0], layer.weight)


class ByForm(nn.Module):
    """Holds its weight as the rebuilt networks do: the form of `weight` is the child `weight_form`."""

    def __init__(self):
        super().__init__()
        self.weight_form = nn.Linear(2, 2, bias=False)
        self.inner = nn.Linear(2, 1)

    @property
    def weight(self):
        return 2 * self.weight_form.weight


def test_a_weight_held_by_a_form_is_penalised_once_and_as_dense():
    module = ByForm()
    found = list(weights(module))
    assert len(found) == 2 and torch.equal(found[0], 2 * module.weight_form.weight)
    assert found[1] is module.inner.weight


def test_recurrent_weights_count_as_weights():
    assert len(list(weights(nn.LSTM(3, 4)))) == 2


def test_a_penalty_on_a_network_without_weights_is_refused():
    with pytest.raises(TersenetError, match="no weight of two or more dimensions"):
        penalty(nn.BatchNorm1d(3), Regularise(l2=1))


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
