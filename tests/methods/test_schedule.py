"""Gradual cuts follow the cubic and never undo one; surgery undoes them, and both resume in the same bytes."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tersenet.errors import TersenetError
from tersenet.forms import Masked
from tersenet.graph import capture
from tersenet.methods.patterns import Blocks, Neighbours
from tersenet.methods.prune import Rule
from tersenet.methods.schedule import Cubic, Surgery, cut_gradually, masked_forms, operate, remask
from tersenet.training import TrainConfig, fit

SHARES = st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(
    final=st.floats(0.001, 1), begin=st.floats(0, 0.5), length=st.floats(0.05, 0.5), times=st.lists(SHARES, min_size=2)
)
def test_the_cubic_starts_and_ends_where_equation_1_says_and_only_falls(final, begin, length, times):
    cubic = Cubic(begin=begin, end=begin + length, frequency=length / 7)
    kept = [cubic.keep(cubic.latest(done), final) for done in sorted(times)]
    assert all(before >= after for before, after in pairwise(kept))
    assert all(final <= share <= 1 for share in kept)
    assert cubic.keep(cubic.latest(0.0), final) == 1
    assert cubic.keep(cubic.latest(1.0), final) == cubic.keep(cubic.latest(begin + length), final) == final


def test_the_cubic_is_equation_1_at_its_cuts_and_constant_between_them():
    cubic = Cubic(begin=0.2, end=0.6, frequency=0.1)
    for n in range(5):
        sparsity = 0.9 + (0 - 0.9) * (1 - n * 0.1 / (4 * 0.1)) ** 3
        for inside in (0.0, 0.05, 0.0999):
            assert cubic.keep(cubic.latest(min(0.2 + n * 0.1 + inside, 0.6)), 0.1) == pytest.approx(1 - sparsity)
    assert cubic.latest(0.1 + 0.2) == pytest.approx(0.3), "the sum is a little more, the quotient a little less"


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (partial(Cubic, begin=0.8), "expected 0 <= begin < end <= 1"),
        (partial(Cubic, end=1.5), "expected 0 <= begin < end <= 1"),
        (partial(Cubic, begin=-0.1), "expected 0 <= begin < end <= 1"),
        (partial(Cubic, end=float("nan")), "expected 0 <= begin < end <= 1"),
        (partial(Cubic, frequency=0.0), "expected more than 0 and at most 0.75"),
        (partial(Cubic, frequency=0.9), "expected more than 0 and at most 0.75"),
        (partial(Surgery, end=0.0), "expected more than 0 and at most 1"),
        (partial(Surgery, end=float("nan")), "expected more than 0 and at most 1"),
    ],
)
def test_times_that_make_no_sense_are_refused(bad, sentence):
    with pytest.raises(TersenetError, match=sentence):
        bad()


def _network(regrows=False):
    torch.manual_seed(0)
    network = capture(nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)), torch.zeros(2, 12))
    for name in ("0.weight", "2.weight"):
        network.attach(name, Masked.fit(network.dense(name), regrows=regrows))
    return network


def _shaken(network, seed):
    """Weights as if they had trained: all of them, also those that are cut."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for form in masked_forms(network).values():
            form.values += 0.2 * torch.randn(form.shape, generator=generator)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(keep=0.1),
        Rule(keep={"0": 0.2, "*": 0.5}),
        Rule(keep=0.1, together=True),
        Rule(keep=0.25, pattern=Blocks(1, 2)),
    ],
)
def test_gradual_never_brings_a_weight_back_and_ends_with_exactly_what_was_asked_for(rule):
    network, cubic = _network(), Cubic(frequency=0.1)
    before = {name: form.mask.clone() for name, form in masked_forms(network).items()}
    for step in range(1, 21):
        _shaken(network, step)
        cut_gradually(network, rule, cubic, step / 20)
        for name, form in masked_forms(network).items():
            assert not bool((form.mask & ~before[name]).any())
            before[name] = form.mask.clone()
    counts = {name: int((form() != 0).sum()) for name, form in masked_forms(network).items()}
    if rule.together:
        assert sum(counts.values()) == round(0.1 * (192 + 48))
    else:
        first, last = (0.2, 0.5) if isinstance(rule.keep, dict) else (rule.keep, rule.keep)
        assert counts == {"0.weight": round(first * 192), "2.weight": round(last * 48)}


def test_zeros_that_are_there_stay_zero_through_gradual_cuts():
    network = _network()
    form = masked_forms(network)["0.weight"]
    form.remask(form.values > 0, 0.0)
    zero = ~form.mask
    for step in range(1, 11):
        _shaken(network, step)
        cut_gradually(network, Rule(keep=0.8), Cubic(), step / 10)
        assert not bool(form()[zero].any())


@pytest.mark.parametrize(
    "rule",
    [
        Rule(keep=0.25),
        Rule(keep=0.25, together=True),
        Rule(pattern=Neighbours(1, 4)),
        Rule(keep=0.25, pattern=Blocks(1, 4)),
    ],
)
def test_surgery_brings_back_a_cut_weight_that_has_grown_and_keeps_their_number(rule):
    network = _network(regrows=True)
    operate(network, rule, Surgery(), 0.0, 0)
    form = masked_forms(network)["0.weight"]
    weakest = torch.where(form.mask, torch.inf, form.values.abs()).argmin()
    assert not bool(form.mask.reshape(-1)[weakest])
    with torch.no_grad():
        form.values.reshape(-1)[weakest] = 100.0
    assert float(form().reshape(-1)[weakest].detach()) == 0
    operate(network, rule, Surgery(), 0.0, 0)
    assert float(form().reshape(-1)[weakest].detach()) == 100
    assert sum(int(one.mask.sum()) for one in masked_forms(network).values()) == (192 + 48) // 4


def test_a_cut_weight_learns_from_the_gradient_of_its_place_and_comes_back():
    """The weights that fit lie under the mask at first; with gradual's gradient they could not move."""
    network = capture(nn.Linear(4, 1, bias=False), torch.zeros(2, 4))
    x = torch.eye(4).repeat(8, 1)
    data = [(x, x @ torch.tensor([[0.0], [0.0], [0.0], [5.0]]))]
    start = torch.tensor([[1.0, 1.0, 0.5, 0.4]])
    rule, config = Rule(keep=0.5), TrainConfig(epochs=40, lr=0.1, momentum=0.0, loss="mse")
    for regrows in (True, False):
        trained = network.clone()
        trained.attach("weight", Masked.fit(start, mask=torch.tensor([[True, True, False, False]]), regrows=regrows))
        fit(
            trained, data, None, config, seed=0, after_step=lambda model, done: operate(model, rule, Surgery(), done, 0)
        )
        assert bool(trained.form("weight").mask[0, 3]) == regrows


def test_between_the_two_thresholds_a_weight_stays_what_it_was():
    weight, mask = torch.tensor([0.95, 0.95, 0.85, 1.05, 1.15]), torch.tensor([True, False, True, False, False])
    kept = Surgery().scores(weight, mask) > 1.0
    assert kept.tolist() == [True, False, False, False, True]


def test_surgery_gets_rarer_stops_and_is_drawn_from_seed_and_progress_alone():
    surgery = Surgery(end=0.5)
    chances = [surgery.probability(done / 100) for done in range(101)]
    assert chances[0] == 1 and chances[49] == pytest.approx(1 / 2.4, rel=0.02) and set(chances[50:]) == {0.0}
    assert chances == sorted(chances, reverse=True)
    drawn = [[surgery.is_due(done / 1000, seed) for done in range(500)] for seed in (0, 1)]
    assert drawn[0] == [surgery.is_due(done / 1000, 0) for done in range(500)] != drawn[1]
    expected = sum(surgery.probability(done / 1000) for done in range(500))
    assert sum(drawn[0]) == pytest.approx(expected, rel=0.15)


def test_a_mask_that_leaves_nothing_is_refused_and_no_mask_changes():
    network = _network(regrows=True)
    with pytest.raises(TersenetError, match="leaves nothing of '2.weight'"):
        operate(network, Rule(threshold={"0": 0.1, "*": 10.0}), Surgery(), 0.0, 0)
    assert all(bool(form.mask.all()) for form in masked_forms(network).values())


def test_the_deviation_of_quality_is_that_of_all_weights_so_that_surgery_does_not_run_away():
    network, rule = _network(regrows=True), Rule(quality=1.0)
    operate(network, rule, Surgery(), 0.0, 0)
    once = {name: form.mask.clone() for name, form in masked_forms(network).items()}
    for _ in range(10):
        operate(network, rule, Surgery(), 0.0, 0)
    assert all(torch.equal(form.mask, once[name]) for name, form in masked_forms(network).items())


class _Blobs:
    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.y = torch.arange(40) % 3
        self.x = torch.randn(40, 12, generator=generator) + 2 * nn.functional.one_hot(self.y, 12)

    def __len__(self):
        return len(self.y)

    def batch(self, indices):
        return self.x[indices], self.y[indices]


SCHEDULES = {
    "gradual": (False, lambda model, done: cut_gradually(model, Rule(keep=0.2), Cubic(frequency=0.1), done)),
    "dynamic": (True, lambda model, done: operate(model, Rule(keep=0.2), Surgery(end=0.8), done, 3)),
}


@pytest.mark.parametrize(("regrows", "hook"), SCHEDULES.values(), ids=SCHEDULES)
def test_a_training_cut_at_any_step_ends_in_the_bytes_of_one_that_was_not(regrows, hook, tmp_path):
    config = TrainConfig(epochs=3, batch_size=8, lr=0.1)

    def trained(path=None, stop=None):
        network = _network(regrows)
        if regrows:
            remask(masked_forms(network), Rule(keep=0.2).masks(network, _magnitudes(network)), 0.0)
        events = iter(range(100))

        def on_event(event):
            if event["stage"] == "train" and next(events) == stop:
                raise KeyboardInterrupt

        fit(
            network,
            _Blobs(),
            None,
            config,
            seed=1,
            checkpoint=path,
            after_step=hook,
            on_event=on_event,
            event_every_steps=1,
        )
        return b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())

    whole = trained()
    for stop in range(15):
        path = tmp_path / f"{stop}.ckpt"
        with pytest.raises(KeyboardInterrupt):
            trained(path, stop)
        assert trained(path) == whole, f"cut after step {stop + 1}"


def _magnitudes(network):
    return {name: form().detach().abs() for name, form in masked_forms(network).items()}
