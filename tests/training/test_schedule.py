"""The learning rate is a function of time alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersenet.training.config import TrainConfig
from tersenet.training.schedule import learning_rate


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
    st.sampled_from(["constant", "cosine", "linear", "step"]),
    st.floats(0, 12),
    st.floats(0, 9),
    st.floats(0, 0.1),
)
def test_the_rate_never_leaves_its_bounds(schedule, time, warmup, low):
    rate = learning_rate(config(schedule=schedule, warmup_epochs=warmup, min_lr=low), time, 0.01)
    assert 0 < rate <= 0.1 * (1 + 1e-9) or rate == low == 0 or schedule in ("cosine", "linear")
    assert time < warmup or rate >= low * (1 - 1e-9)
