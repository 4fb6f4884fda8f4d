"""The learning rate is a function of time alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tersenet.training.config import TrainConfig
from tersenet.training.optimiser import make_optimiser, set_rates
from tersenet.training.schedule import count_drops, learning_rate


def config(**more):
    return TrainConfig(**{"epochs": 10, "lr": 0.1, **more})


def test_each_schedule_starts_at_lr_and_ends_where_it_says():
    ends = {"constant": 0.1, "cosine": 0.02, "linear": 0.02, "step": 0.02}
    for schedule, end in ends.items():
        made = config(schedule=schedule, min_lr=0.02, step_epochs=2)
        assert learning_rate(made, 0.0) == pytest.approx(0.1)
        assert learning_rate(made, 10.0) == pytest.approx(end)


def test_halfway_cosine_and_linear_are_halfway_and_step_drops_at_its_epochs():
    assert learning_rate(config(schedule="cosine"), 5.0) == pytest.approx(0.05)
    assert learning_rate(config(schedule="linear"), 5.0) == pytest.approx(0.05)
    step = config(schedule="step", step_epochs=3)
    before, after = learning_rate(step, 2.999), learning_rate(step, 3.0)
    assert (before, after) == (pytest.approx(0.1), pytest.approx(0.01))
    assert learning_rate(step, sum([0.1] * 30)) == pytest.approx(0.01), "thirty tenths of an epoch are three epochs"


def test_the_warm_up_rises_and_its_first_step_is_not_lost():
    warm = config(warmup_epochs=2, schedule="constant")
    rates = [learning_rate(warm, step / 4, 1 / 4) for step in range(10)]
    assert rates[0] == pytest.approx(0.1 / 8)
    assert rates[:8] == sorted(rates[:8]) and rates[7:] == [pytest.approx(0.1)] * 3


@given(
    st.sampled_from(["constant", "cosine", "linear", "step", "plateau"]),
    st.floats(0, 12),
    st.floats(0, 9),
    st.floats(0, 0.1),
)
def test_the_rate_never_leaves_its_bounds(schedule, time, warmup, low):
    rate = learning_rate(config(schedule=schedule, warmup_epochs=warmup, min_lr=low), time, 0.01)
    assert 0 < rate <= 0.1 * (1 + 1e-9) or rate == low == 0 or schedule in ("cosine", "linear")
    assert time < warmup or rate >= low * (1 - 1e-9)


@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize(("epochs", "steps"), [(3, 7), (1, 10), (10, 1), (2, 469)])
def test_one_cycle_is_pytorch_s_in_rate_and_momentum(optimiser, epochs, steps):
    made = TrainConfig(
        epochs=epochs, lr=0.4, schedule="one_cycle", min_lr=0.4 / 25 / 1e4, optimiser=optimiser, momentum=0.95
    )
    weight = torch.zeros(1, requires_grad=True)
    ours, theirs = make_optimiser(made, [weight]), make_optimiser(made, [weight])
    highest = 0.95 if optimiser in ("sgd", "rmsprop") else 0.9
    oracle = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.4, epochs * steps, max_momentum=highest)
    key = "momentum" if "momentum" in ours.param_groups[0] else "betas"
    for step in range(epochs * steps):
        epoch, within = divmod(step, steps)
        set_rates(ours, made, epoch + min(within / steps, 1.0), 1 / steps, [])
        got, expected = ours.param_groups[0], theirs.param_groups[0]
        assert got["lr"] == pytest.approx(expected["lr"], rel=1e-9, abs=1e-12)
        assert got[key] == pytest.approx(expected[key], rel=1e-12)
        theirs.step()
        if step + 1 < epochs * steps:
            oracle.step()


def test_one_cycle_without_known_steps_peaks_where_it_says_and_a_low_momentum_stays():
    made = config(schedule="one_cycle", peak=0.5, momentum=0.0)
    rates = [learning_rate(made, time / 10) for time in range(101)]
    assert (
        max(rates) == rates[50] == 0.1 and rates[0] == pytest.approx(0.004) and rates[-1] == pytest.approx(0, abs=1e-9)
    )
    optimiser = make_optimiser(made, [torch.zeros(1, requires_grad=True)])
    set_rates(optimiser, made, 5.0, 0.0, [])
    assert optimiser.param_groups[0]["momentum"] == 0


@given(st.lists(st.sampled_from([1.0, 0.99995, 0.9998, 0.5, 2.0, 0.0, -1.0, -1.00005]), max_size=30), st.integers(0, 4))
def test_drops_are_counted_as_pytorch_s_plateau_does(losses, patience):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience)
    for number, loss in enumerate(losses, 1):
        oracle.step(loss)
        assert 0.5 ** count_drops(losses[:number], patience) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-8)


def test_a_plateau_stops_falling_at_min_lr():
    made = config(schedule="plateau", plateau_epochs=0, min_lr=0.005)
    rates = [learning_rate(made, len(past), 0.1, past) for past in ([], [1.0], [1.0, 1.0], [1.0, 1.0, 1.0])]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.005])
