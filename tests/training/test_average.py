"""Averaged weights are those of torch.optim.swa_utils, and are what is scored, kept and given back."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from tersenet.graph import capture
from tersenet.training import TrainConfig, fit
from tersenet.training.average import Average
from tersenet.training.evaluate import evaluate


def walk(model, seed):
    """Weights after one more step of some training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
    model(torch.randn(8, 1, 6, 6, generator=generator))


def states(average, oracle):
    return average.tensors(), {**dict(oracle.module.named_parameters()), **dict(oracle.module.named_buffers())}


def close(got, expected):
    assert got.keys() == expected.keys()
    for name, tensor in got.items():
        assert torch.allclose(tensor.float(), expected[name].float(), atol=1e-6), name


def test_ema_is_pytorch_s_once_its_first_steps_are_over(small_net):
    model = small_net()
    average = Average(model, TrainConfig(epochs=1, average="ema", average_decay=0.4))
    oracle = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.4))
    # From a decay of 0.4 on, (1 + n) / (10 + n) is larger after five states.
    average.count = 5
    for mine, theirs in zip(average.model.parameters(), model.parameters()):
        assert torch.equal(mine, theirs)
    oracle.update_parameters(model)
    for seed in range(6):
        walk(model, seed)
        average.after_step()
        oracle.update_parameters(model)
    for mine, theirs in zip(average.model.parameters(), oracle.module.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_ema_of_few_steps_forgets_its_beginning_sooner(small_net):
    model = small_net()
    average = Average(model, TrainConfig(epochs=1, average="ema", average_decay=0.999))
    oracle = AveragedModel(model, avg_fn=lambda a, p, n: a.lerp(p, 1 - min(0.999, float((1 + n) / (10 + n)))))
    for seed in range(6):
        walk(model, seed)
        average.after_step()
        oracle.update_parameters(model)
    for mine, theirs in zip(average.model.parameters(), oracle.module.parameters(), strict=True):
        assert torch.allclose(mine, theirs)


@pytest.mark.parametrize("kind", ["module", "network"])
def test_swa_and_batch_norm_are_pytorch_s(small_net, kind):
    model = small_net()
    oracle = AveragedModel(model)
    batches = [(torch.randn(8, 1, 6, 6), torch.zeros(8)) for _ in range(3)]
    source = model if kind == "module" else capture(model, (torch.zeros(2, 1, 6, 6),))
    average = Average(source, TrainConfig(epochs=10, average="swa", average_from=0.6))
    for epoch in range(1, 11):
        walk(model, epoch)
        if source is not model:
            source.load_state_dict(model.state_dict(), strict=False)
        average.after_epoch(epoch)
        average.after_epoch(epoch)  # as after an interruption
        if epoch > 6:
            oracle.update_parameters(model)
    assert average.count == 4
    average.settle(batches)
    update_bn(batches, oracle.module)
    got, expected = states(average, oracle)
    close(got, {name: tensor for name, tensor in expected.items() if name in got})
    assert not torch.allclose(got["1.running_mean"], dict(model.named_buffers())["1.running_mean"])


def test_before_anything_is_averaged_it_is_the_network_itself(small_net):
    model = small_net()
    average = Average(model, TrainConfig(epochs=10, average="swa"))
    walk(model, 0)
    average.after_epoch(1)
    average.settle([])
    for name, tensor in model.named_parameters():
        assert torch.equal(average.tensors()[name], tensor)
    assert torch.equal(average.tensors()["1.running_mean"], model[1].running_mean)


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("average", ["ema", "swa"])
def test_the_run_ends_with_the_average_and_its_history_has_the_average_s_scores(
    pictures, small_net, average, keep_best
):
    model, validate = small_net(), pictures(30, seed=1)
    config = TrainConfig(epochs=4, batch_size=8, lr=0.1, average=average, average_from=0.2, keep_best=keep_best)
    history = fit(model, pictures(40), validate, config, seed=0)
    record = history.epochs[(history.best_epoch or 4) - 1]
    score = evaluate(model, validate)
    assert (score.accuracy, score.loss) == (record.validation_accuracy, pytest.approx(record.validation_loss))
    plain = small_net()
    last = fit(plain, pictures(40), validate, config.model_copy(update={"average": "none"}), seed=0)
    assert [one.train_loss for one in last.epochs] == [one.train_loss for one in history.epochs], (
        "training never reads it"
    )
    assert keep_best or not torch.equal(plain[0].weight, model[0].weight)


def test_swa_in_the_loop_is_the_mean_of_the_ends_of_late_epochs(pictures):
    def trained(epochs, average):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        config = TrainConfig(
            epochs=epochs, batch_size=8, lr=0.1, schedule="constant", average=average, average_from=0.5
        )
        fit(model, pictures(20), None, config, seed=0)
        return model[1].weight.detach()

    ends = [trained(epochs, "none") for epochs in range(1, 5)]
    assert torch.allclose(trained(4, "swa"), (ends[2] + ends[3]) / 2, atol=1e-6)
    assert len({end.numpy().tobytes() for end in ends}) == 4
    assert torch.allclose(trained(1, "swa"), ends[0]), "the last epoch always counts"


def test_a_stop_before_anything_is_averaged_gives_the_network_that_trained(pictures, small_net, state_bytes):
    def trained(average):
        model = small_net()
        config = TrainConfig(epochs=8, batch_size=8, schedule="constant", average=average)
        fit(model, pictures(20), None, config, seed=0, stop=lambda history: len(history.epochs) == 2)
        return state_bytes(model)

    assert trained("swa") == trained("none")


def test_weights_stored_in_forms_are_averaged_where_they_learn(pictures):
    from tersenet.forms import Codebook, Sparse

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Linear(20, 3))
    with torch.no_grad():
        plain[1].weight[plain[1].weight.abs() < 0.1] = 0
    network = capture(plain, (torch.zeros(2, 1, 6, 6),))
    weight = network.dense("1.weight").detach()
    network.attach("1.weight", Sparse.fit(weight, values=lambda kept: Codebook.fit(kept, k=4)))
    fit(network, pictures(20), None, TrainConfig(epochs=3, batch_size=8, average="ema"), seed=1)
    after = network.dense("1.weight").detach()
    assert len(after.unique()) == 5 and torch.equal(after == 0, weight == 0)
    assert not torch.equal(after, weight)
