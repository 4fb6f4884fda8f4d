"""Forms fitted to calibration inputs: nearer than nearest values, means kept, zeros kept, bad input refused."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Dense, Masked, Sparse
from tersenet.graph import Network, capture, fold_batchnorm
from tersenet.methods._feedback import damped, factorise, feed_back
from tersenet.methods.oneshot import divergence
from tersenet.methods.post_training import _order, fed_back, store_calibrated
from tersenet.methods.prune import attach_pruned
from tersenet.methods.share import attach_values

SHARE = partial(Codebook.fit, k=16, init="optimum")


class _Net(nn.Module):
    """A plain, a grouped, a residual and a depthwise convolution, a linear layer used twice, and a last one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.two, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.BatchNorm2d(16)
        self.three = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False)
        self.twice, self.five = nn.Linear(16, 16), nn.Linear(16 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.one(x)))
        x = torch.relu(self.bn2(self.two(x)) + x)
        x = torch.relu(self.three(x)).flatten(2).mT
        return self.five(torch.relu(self.twice(torch.relu(self.twice(x)))).flatten(1))


def _inputs(count: int, seed: int) -> torch.Tensor:
    """Smooth pictures, so that neighbouring columns are correlated."""
    noise = torch.randn(count, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(noise, 3, 1) * 3 + 0.5


BATCHES = [(part,) for part in torch.split(_inputs(128, 100), 64)]


@pytest.fixture(scope="module")
def trained() -> Network:
    torch.manual_seed(0)
    model = _Net().train()
    with torch.no_grad():
        for seed in range(30):  # running statistics that are those of the inputs
            model(_inputs(64, seed))
        model.five.weight.mul_(6)
    return capture(model.eval(), _inputs(2, 0)).eval()


@pytest.fixture()
def net(trained) -> Network:
    return trained.clone()


def _weights(net: Network) -> list[str]:
    return [layer.weight for layer in {one.weight: one for one in net.weighted_layers()}.values()]


def _stored(net: Network, fit, batches=BATCHES) -> Network:
    after = net.clone()
    assert store_calibrated(after, batches, dict.fromkeys(_weights(net), fit)) == []
    return after


def _away(net: Network, other: Network) -> float:
    fresh = _inputs(256, 200)
    with torch.no_grad():
        return divergence(net(fresh), other(fresh))


@pytest.mark.parametrize("folded", [False, True])
def test_the_answers_come_nearer_than_with_each_weight_at_its_nearest(net, folded):
    net = fold_batchnorm(net) if folded else net
    plain = net.clone()
    for name in _weights(net):
        attach_values(plain, name, SHARE)
    calibrated = _stored(net, SHARE)
    assert _away(net, calibrated) < 0.5 * _away(net, plain)
    for name in _weights(net):
        assert isinstance(calibrated.form(name), Codebook) and len(calibrated.dense(name).unique()) <= 16


@pytest.mark.parametrize("folded", [False, True])
def test_each_channel_keeps_its_mean_over_the_inputs(net, folded):
    """Of the first layer, whose inputs are the original's, after its BatchNorm; places are a grid of all of them."""
    net = fold_batchnorm(net) if folded else net
    stored = net.clone()
    name = net.weighted_layers()[0].weight
    few = partial(Codebook.fit, k=2, init="optimum")
    store_calibrated(stored, BATCHES, {name: few})
    plain = net.clone()
    attach_values(plain, name, few)
    means = [_means_after_first(one) for one in (net, stored, plain)]
    assert torch.allclose(means[0], means[1], atol=0.02)
    assert not torch.allclose(means[0], means[2], atol=0.1)


def _means_after_first(net: Network) -> torch.Tensor:
    from tersenet.graph.walk import Walk
    from tersenet.ir import Value

    walk = Walk(net, BATCHES)
    ends = [i for i, node in enumerate(net.graph.nodes) if node.op == "relu"]
    for _ in range(ends[0]):
        walk.step()
    last = Value(net.graph.first_value(ends[0] - 1))
    return torch.cat(walk.value(last)).mean((0, 2, 3))


def test_zeros_that_are_there_stay_and_the_rest_makes_them_good(net):
    names = _weights(net)
    for name in names:
        weight = net.dense(name)
        attach_pruned(net, name, torch.where(weight.abs() >= weight.abs().median(), weight, 0.0))
    zeros = {name: net.dense(name) == 0 for name in names}
    stored, plain = _stored(net, SHARE), net.clone()
    for name in names:
        attach_values(plain, name, SHARE)
        assert torch.equal(stored.dense(name) == 0, zeros[name])
        form = stored.form(name)
        assert isinstance(form, Sparse) and isinstance(form.values, Codebook) and form.values.k <= 16
    assert _away(net, stored) < 0.5 * _away(net, plain)


def test_float32_values_leave_the_answers_as_they_are(net):
    assert _away(net, _stored(net, Dense.fit)) < 1e-9


def test_the_same_inputs_give_the_same_bits(net):
    first, second = _stored(net, SHARE), _stored(net, SHARE)
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name])


def test_other_tensors_and_the_original_are_left_alone(net):
    before = {name: tensor.clone() for name, tensor in net.tensors().items()}
    after = net.clone()
    store_calibrated(after, BATCHES, {"five.weight": SHARE})
    changed = {name for name, tensor in after.tensors().items() if not torch.equal(tensor, before[name])}
    assert changed == {"five.weight", "five.bias"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.tensors().items())


@pytest.mark.parametrize("together", [1, 2, 5, 64, 100])
def test_groups_of_columns_are_decided_at_once_and_errors_within_them_are_carried_on(together):
    """Against the conditional optimum: with all but the last group fixed, it is what least squares would have."""
    generator = np.random.default_rng(0)
    target = generator.normal(size=(1, 6, 130))
    inputs = generator.normal(size=(400, 130)) @ generator.normal(size=(130, 130))
    hessian = damped(inputs.T @ inputs / 400, 400)[None]
    seen = []

    class Group(Dense):
        columns_together = together

        def nearest(self, values, columns):
            seen.append((columns.tolist(), values.clone()))
            return values.round()

    decided = fed_back(Group(torch.zeros(6, 130)), target, hessian)
    assert all(group == list(range(group[0], group[0] + len(group))) for group, _ in seen)
    assert sorted(column for group, _ in seen for column in group) == list(range(130))
    last, values = seen[-1]
    fixed = [column for column in range(130) if column not in last]
    error = target[0][:, fixed] - decided[0][:, fixed]
    repair = np.linalg.solve(hessian[0][np.ix_(last, last)], hessian[0][np.ix_(last, fixed)] @ error.T).T
    assert np.allclose(values.numpy(), target[0][:, last] + repair, atol=1e-8)


def test_groups_of_a_convolution_are_decided_side_by_side_as_each_alone(net):
    generator = np.random.default_rng(1)
    target = generator.normal(size=(3, 4, 9))
    inputs = generator.normal(size=(3, 200, 9)) * np.linspace(1, 2, 9)
    hessians = np.stack([damped(x.T @ x / 200, 200) for x in inputs])
    form = SHARE(torch.from_numpy(target).float().reshape(12, 9))
    together = fed_back(form, target, hessians)
    order = _order(np.einsum("gff->f", hessians), 1)
    for group in range(3):
        alone = feed_back(
            target[group],
            factorise(hessians[group], order),
            lambda open_, column: form.nearest(
                torch.from_numpy(open_[:, column, None].copy()), torch.from_numpy(order[[column]])
            ).numpy()[:, 0],
        )
        assert np.allclose(together[group], alone)


def test_no_inputs_are_refused_and_nothing_is_changed(net):
    for batches in ([], [(torch.zeros(0, 3, 8, 8),)]):
        with pytest.raises(TersenetError, match="no inputs to calibrate on"):
            store_calibrated(net, batches, {"five.weight": SHARE})
    assert net.form("five.weight") is None


def test_inputs_with_nan_are_refused_by_the_layer_that_meets_them(net):
    bad = _inputs(8, 0)
    bad[3, 0, 2, 2] = float("nan")
    with pytest.raises(TersenetError, match="layer 'one' meets or gives NaN"):
        store_calibrated(net, [(bad,)], {"one.weight": SHARE})


def test_a_form_without_a_nearest_value_is_refused_by_name(net):
    with pytest.raises(TersenetError, match="the form masked does not say"):
        store_calibrated(net, BATCHES, {"five.weight": Masked.fit})


def test_layers_that_are_no_matrix_are_stored_as_they_are_and_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(48, 3))
    words = capture(model, torch.zeros(2, 12, dtype=torch.int64)).eval()
    given = [(torch.arange(240).reshape(20, 12) % 10,)]
    notes = store_calibrated(words, given, dict.fromkeys(("0.weight", "2.weight"), SHARE))
    assert notes == ["0.weight: stored without calibration; error feedback knows no embedding"]
    assert torch.equal(words.dense("0.weight"), SHARE(model[0].weight)())


def test_vectors_between_zeros_are_stored_without_feedback_and_named(net):
    class Pairs(Codebook):
        columns_together = 2

    weight = net.dense("five.weight")
    attach_pruned(net, "five.weight", torch.where(weight.abs() > weight.abs().mean(), weight, 0.0))
    notes = store_calibrated(net, BATCHES, {"five.weight": partial(Pairs.fit, k=6)})
    assert notes == ["five.weight: without error feedback; sub-vectors of what is not zero lie in no columns"]
    assert isinstance(net.form("five.weight").values, Pairs)


@pytest.mark.parametrize("keep_zeros", [True, False])
def test_zeros_of_a_weight_that_is_not_pruned_are_kept_or_free(net, keep_zeros):
    weight = net.dense("five.weight").clone()
    weight[:, ::2] = 0
    net.set_tensor("five.weight", weight)
    store_calibrated(net, BATCHES, {"five.weight": partial(Codebook.fit, k=2)}, keep_zeros=keep_zeros)
    assert isinstance(net.form("five.weight"), Sparse) == keep_zeros
    assert torch.equal(net.dense("five.weight") == 0, weight == 0) == keep_zeros
