"""Confusions and worst examples are those that a plain loop over the data finds."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.training.evaluate import evaluate
from tersenet.training.examine import Examination, example_losses


def examined(outputs, target, loss="cross_entropy", batch_size=4, worst=5):
    """What is found of a network that gives these outputs."""

    class Rows:
        def __len__(self):
            return len(outputs)

        def batch(self, indices):
            return outputs[indices], target[indices]

    found = Examination(loss, worst)
    evaluate(nn.Identity(), Rows(), batch_size=batch_size, loss=loss, observe=found)
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 4, 50])
def test_rows_are_true_and_columns_predicted_and_the_worst_come_first(batch_size):
    outputs, target = torch.randn(23, 4), torch.arange(23) % 4
    found = examined(outputs, target, batch_size=batch_size)
    for true in range(4):
        for predicted in range(4):
            both = (target == true) & (outputs.argmax(1) == predicted)
            assert found.confusion[true, predicted] == both.sum()
    losses = F.cross_entropy(outputs, target, reduction="none")
    order = losses.argsort(descending=True)[:5].tolist()
    assert [example.index for example in found.worst] == order
    for example in found.worst:
        assert example.loss == pytest.approx(float(losses[example.index]))
        assert (example.true, example.predicted) == (target[example.index], outputs[example.index].argmax())
        assert torch.equal(example.input, outputs[example.index])


def test_fewer_examples_than_asked_for_are_all_there_and_a_class_without_examples_has_a_row_of_zeros():
    found = examined(torch.eye(3)[:2], torch.tensor([0, 0]), worst=9)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert [example.index for example in found.worst] == [1, 0]


def test_yes_and_no_are_two_classes_several_labels_are_none():
    logits = torch.tensor([[2.0], [-1.0], [3.0]])
    assert examined(logits, torch.tensor([1, 1, 0]), "bce").confusion.tolist() == [[0, 1], [1, 1]]
    several = examined(torch.tensor([[2.0, 1.0], [-5.0, 1.0]]), torch.ones(2, 2), "bce")
    assert several.confusion is None
    assert [(example.index, example.true) for example in several.worst] == [(1, None), (0, None)]


def test_losses_of_numbers_and_of_sequences_are_means_over_an_example():
    outputs, target = torch.tensor([[1.0, 2.0], [5.0, 5.0]]), torch.zeros(2, 2)
    assert example_losses(outputs, target, "mse").tolist() == [2.5, 25.0]
    assert example_losses(outputs, target, "mae").tolist() == [1.5, 5.0]
    assert example_losses(outputs[:, 0], target[:, 0], "mae").tolist() == [1.0, 5.0]
    words, following = torch.randn(3, 7, 5), torch.randint(0, 7, (3, 5))
    found = examined(words, following)
    assert found.confusion is None and len(found.worst) == 3
    expected = F.cross_entropy(words, following, reduction="none").mean(1)
    assert example_losses(words, following, "cross_entropy").tolist() == pytest.approx(expected.tolist())
