"""Scores are those of the definitions, whatever the batches."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tersenet.errors import TersenetError
from tersenet.training import TrainConfig, fit
from tersenet.training.errors import TrainingError
from tersenet.training.evaluate import evaluate


def problem(Memory, classes, n=23):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, classes), nn.BatchNorm1d(classes), nn.Dropout(0.5))
    return net, Memory(torch.randn(n, 6), torch.randint(0, classes, (n,)))


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
@pytest.mark.parametrize("classes", [2, 10, 11, 12])
def test_a_score_is_that_of_all_examples_at_once(Memory, classes, batch_size):
    net, data = problem(Memory, classes)
    score = evaluate(net, data, batch_size=batch_size)
    outputs = net.eval()(data.x)
    assert score.examples == 23
    assert score.loss == pytest.approx(F.cross_entropy(outputs, data.y).item(), rel=1e-5)
    assert score.accuracy == (outputs.argmax(1) == data.y).double().mean().item()
    if classes <= 10:
        assert score.top5 is None
    else:
        ranks = (outputs > outputs[range(23), data.y][:, None]).sum(1)
        assert score.top5 == (ranks < 5).double().mean().item()
        assert score.top5 > score.accuracy


def test_a_loader_scores_as_the_data_in_memory_does(Memory):
    net, data = problem(Memory, 3)
    loader = DataLoader(TensorDataset(data.x, data.y), batch_size=4)
    assert evaluate(net, loader).accuracy == evaluate(net, data).accuracy
    assert evaluate(net, iter(loader)).examples == 23


def test_scoring_leaves_modes_gradients_and_statistics_as_they_were(Memory):
    net, data = problem(Memory, 3)
    net.train()
    net[1].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    evaluate(net, data)
    assert (net.training, net[1].training, net[2].training) == (True, False, True)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_modes_are_restored_even_when_the_data_is_refused(Memory):
    net, _ = problem(Memory, 3)
    with pytest.raises(TersenetError):
        evaluate(net.train(), iter([]))
    assert net.training and net[2].training


def test_the_loss_of_probabilities_is_a_mean_over_examples(Memory):
    net, data = problem(Memory, 3)
    soft = Memory(data.x, torch.softmax(torch.randn(23, 3), 1))
    expected = F.cross_entropy(net.eval()(data.x), soft.y).item()
    assert evaluate(net, soft, batch_size=5, loss="cross_entropy").loss == pytest.approx(expected, rel=1e-5)


def test_nan_outputs_are_refused_by_their_number(Memory):
    net, data = problem(Memory, 3)
    data.x[4] = float("nan")
    with pytest.raises(TersenetError, match="3 outputs of the network are NaN or infinite over 23 examples"):
        evaluate(net, data, batch_size=7)


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_a_label_that_is_no_class_is_refused(Memory, label):
    net, data = problem(Memory, 3)
    data.y[20] = label
    with pytest.raises(TersenetError, match=f"a label is {label}; the network has 3 classes, 0 to 2"):
        evaluate(net, data, batch_size=7)


def test_empty_data_is_refused(Memory):
    net, data = problem(Memory, 3, n=0)
    with pytest.raises(TersenetError, match="the evaluation data is empty"):
        evaluate(net, data)
    with pytest.raises(TersenetError, match="the evaluation data is empty"):
        evaluate(net, [])


def test_a_metric_takes_the_place_of_accuracy_and_may_iterate_twice(Memory):
    net, data = problem(Memory, 3)

    def metric(model, loader):
        assert not model.training and not torch.is_grad_enabled()
        return sum(len(x) for x, _ in loader) + sum(len(x) for x, _ in loader)

    score = evaluate(net, data, batch_size=5, metric=metric)
    assert score.metric == 46 and score.quality == 46 and score.accuracy is None and score.examples == 23
    with pytest.raises(TersenetError, match="the metric gave nan"):
        evaluate(net, data, metric=lambda model, loader: float("nan"))


def test_quality_grows_as_the_network_gets_better(Memory):
    net, data = problem(Memory, 3)
    assert evaluate(net, data).quality == evaluate(net, data).accuracy
    regression = Memory(data.x, data.x[:, :3])
    score = evaluate(net, regression)
    assert (
        score.loss
        == evaluate(net, regression, loss="mse").loss
        == pytest.approx(F.mse_loss(net.eval()(regression.x), regression.y).item(), rel=1e-5)
    )
    assert score.accuracy is None and score.quality == -score.loss


def test_a_network_that_can_freeze_its_weights_is_scored_so(Memory):
    net, data = problem(Memory, 3)
    entered = []

    class Freezing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            assert entered == ["in"]
            return self.net(x)

        def frozen_weights(self):
            from contextlib import contextmanager

            @contextmanager
            def frozen():
                entered.append("in")
                yield
                entered.append("out")

            return frozen()

    evaluate(Freezing(), data)
    assert entered == ["in", "out"]


def test_what_a_loader_raises_is_told_with_its_type():
    def broken():
        yield torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)
        raise KeyError("picture 7")

    class Loader:
        def __iter__(self):
            return broken()

    model = nn.Linear(4, 3)
    with pytest.raises(TrainingError, match="the data loader raised KeyError: 'picture 7'"):
        evaluate(model, Loader())
    with pytest.raises(TrainingError, match="the data loader raised KeyError: 'picture 7'"):
        fit(model, Loader(), None, TrainConfig(epochs=1), seed=0)
