"""One-shot surgery on a whole network: nearer than cutting, zeros where they belong, means kept, bad input refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.forms import Dense, Sparse
from tersenet.graph import Network, capture
from tersenet.methods.obs import Surgery, prune_by_surgery
from tersenet.methods.oneshot import divergence
from tersenet.methods.patterns import Neighbours
from tersenet.methods.prune import attach_pruned, global_keep
from tersenet.methods.select import select_layers
from tersenet.methods.share import share_weights


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


def _batches(count: int = 128) -> list[tuple[torch.Tensor, ...]]:
    return [(part,) for part in torch.split(_inputs(count, 100), 64)]


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


def _operated(net: Network, where: str = "*", batches: list[tuple[torch.Tensor, ...]] | None = None, **settings):
    pruned = net.clone()
    prune_by_surgery(pruned, batches or _batches(), select_layers(pruned, where), Surgery(**settings))
    return pruned


def _zeros(net: Network) -> int:
    return sum(int((net.dense(layer.weight) == 0).sum()) for layer in select_layers(net, "*"))


def _away(net: Network, other: Network) -> float:
    fresh = _inputs(256, 200)
    with torch.no_grad():
        return divergence(net(fresh), other(fresh))


def test_surgery_stays_nearer_than_cutting_and_one_threshold_nearer_than_one_share(net):
    weights = {layer.weight: net.dense(layer.weight) for layer in select_layers(net, "*")}
    cut = net.clone()
    for name, weight in global_keep(weights, 0.5).items():
        attach_pruned(cut, name, weight)
    together = _operated(net, keep=0.5)
    each = _operated(net, keep=dict.fromkeys(weights, 0.5))
    assert _zeros(together) == _zeros(cut) == pytest.approx(_zeros(each), abs=2)
    assert _away(net, together) < _away(net, each) < 0.5 * _away(net, cut)


def test_every_layer_keeps_its_share_and_is_held_as_what_is_left(net):
    keep = {"one.weight": 0.25, "five.weight": 0.9}
    pruned = _operated(net, "one,five", keep=keep)
    for name, share in keep.items():
        form = pruned.form(name)
        assert isinstance(form, Sparse)
        assert form.density == pytest.approx(share, abs=1e-3)
    assert pruned.form("two.weight") is None
    assert torch.equal(pruned.dense("two.weight"), net.dense("two.weight"))


def test_keeping_everything_changes_nothing(net):
    pruned = _operated(net, keep=1.0)
    for name, tensor in net.tensors().items():
        torch.testing.assert_close(pruned.dense(name), tensor, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("large", [False, True])
def test_two_of_four_neighbours_stay_also_where_a_matrix_is_too_large_for_the_exact_way(net, large, monkeypatch):
    if large:
        monkeypatch.setattr("tersenet.methods._surgeon.REMOVAL_WORK", 0)
        monkeypatch.setattr("tersenet.methods._surgeon.REFIT_WORK", 0)
    pruned = _operated(net, pattern=Neighbours(2, 4))
    for layer in select_layers(pruned, "*"):
        rows = (pruned.dense(layer.weight) != 0).flatten(1)
        whole = rows.shape[1] // 4 * 4
        assert (rows[:, :whole].reshape(-1, 4).sum(1) == 2).all()
    assert _away(net, pruned) < 0.2


def test_large_matrices_keep_as_much_and_stay_nearer_than_cutting(net, monkeypatch):
    monkeypatch.setattr("tersenet.methods._surgeon.REMOVAL_WORK", 0)
    monkeypatch.setattr("tersenet.methods._surgeon.REFIT_WORK", 0)
    pruned, cut = _operated(net, keep=0.5), net.clone()
    for name, weight in global_keep(
        {one.weight: net.dense(one.weight) for one in select_layers(net, "*")}, 0.5
    ).items():
        attach_pruned(cut, name, weight)
    assert _zeros(pruned) == _zeros(cut)
    assert _away(net, pruned) < _away(net, cut)


def test_what_is_pruned_stays_pruned_and_later_steps_keep_the_zeros(net):
    weights = {layer.weight: net.dense(layer.weight) for layer in select_layers(net, "*")}
    for name, weight in global_keep(weights, 0.7).items():
        attach_pruned(net, name, weight)
    before = {name: net.dense(name) == 0 for name in weights}
    pruned = _operated(net, keep=0.5)
    for name, mask in before.items():
        assert not pruned.dense(name)[mask].any()
    left = _zeros(pruned)
    assert left == sum(weight.numel() for weight in weights.values()) - round(
        0.5 * sum(map(torch.numel, weights.values()))
    )
    share_weights(pruned, "five.weight", k=8, init="linear", table="float32", seed=0)
    assert _zeros(pruned) == left


def _channel_means(net: Network, batches: list[tuple[torch.Tensor, ...]]) -> dict[str, torch.Tensor]:
    """Of what follows each convolution once its mean has been set right."""
    seen: dict[str, torch.Tensor] = {}
    wanted = {"batch_norm", "linear"}
    watchers = {
        index: lambda given, out, index=index: seen.__setitem__(f"{index}", out.movedim(1, 0).flatten(1).mean(1))
        for index, node in enumerate(net.graph.nodes)
        if node.op in wanted
    }
    with torch.no_grad():
        net.watch((torch.cat([one for (one,) in batches]),), watchers)
    return seen


def test_channels_keep_their_means(net):
    pruned = _operated(net, "one,two,five", keep=0.3)
    cut = net.clone()
    for layer in select_layers(net, "one,two,five"):
        attach_pruned(cut, layer.weight, torch.where(pruned.dense(layer.weight) != 0, net.dense(layer.weight), 0.0))
    means, kept, lost = (_channel_means(one, _batches()) for one in (net, pruned, cut))
    first, *_, last = means
    for where in (first, last):
        torch.testing.assert_close(kept[where], means[where], atol=2e-2, rtol=0)
        assert not torch.allclose(lost[where], means[where], atol=0.1)


def test_the_same_seed_gives_the_same_bits(net):
    one, two = (_operated(net, keep=0.4) for _ in range(2))
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, two.dense(name))


def test_a_dead_input_and_a_form_that_was_there_are_no_trouble(net):
    net.attach("one.weight", Dense.fit(net.dense("one.weight"), dtype="float16"))
    batches = [(one * torch.tensor([1.0, 0.0, 1.0]).reshape(1, 3, 1, 1),) for (one,) in _batches(64)]
    pruned = _operated(net, batches=batches, keep=0.5)
    kept = (pruned.dense("one.weight") != 0).float().mean((0, 2, 3))
    assert kept[1] < 0.3 * kept[0]  # nothing comes from there; damping alone keeps what is large
    assert bool(torch.isfinite(pruned(_inputs(4, 1))).all())


def test_what_cannot_be_operated_on_is_refused_in_a_sentence_and_left_as_it_was(net):
    before = {name: tensor.clone() for name, tensor in net.tensors().items()}
    layers = select_layers(net, "*")
    nan, narrow = _inputs(4, 0), _inputs(4, 0)[:, :, :5]
    nan[1, 2] = torch.nan
    for batches, settings, sentence in (
        ([], {"keep": 0.5}, "no inputs to calibrate on"),
        ([(nan,)], {"keep": 0.5}, "NaN or infinite"),
        ([(narrow,)], {"keep": 0.5}, "has shape"),
        (_batches(64), {"keep": 0.0}, "keep-fraction of 0"),
        (_batches(64), {"keep": 1.5}, "keep-fraction of 1.5"),
        (_batches(64), {"keep": 1e-9}, "leaves nothing of"),
        (_batches(64), {}, "either a keep-fraction or a pattern"),
    ):
        with pytest.raises(TersenetError, match=sentence):
            prune_by_surgery(net, batches, layers, Surgery(**settings))
    assert not net.forms()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.tensors().items())
    words = capture(nn.Sequential(nn.Embedding(5, 4), nn.Flatten()), torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(TersenetError, match="'0' is no linear"):
        prune_by_surgery(words, [(torch.zeros(2, 3, dtype=torch.int64),)], select_layers(words, "*"), Surgery(keep=0.5))
