"""Timing calls what it times, as often as it says, in turns. How long that takes is nobody's law."""

import pytest

from tersenet.errors import TersenetError
from tersenet.measure import latency
from tersenet.measure.latency import compare_latency, latency_ms


def test_calls_are_made_in_turns_after_a_warm_up_of_each():
    order = []
    got = compare_latency({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3, warmup=2)
    assert "".join(order) == "aabb" + "ababab"
    assert list(got) == ["a", "b"] and got["a"].repeats == 3


def test_median_minimum_and_spread_are_those_of_the_times(monkeypatch):
    ticks = iter([0, 4_000_000, 10_000_000, 11_000_000, 20_000_000, 22_000_000, 30_000_000, 33_000_000, 40, 10_000_040])
    monkeypatch.setattr(latency.time, "perf_counter_ns", lambda: next(ticks))
    got = latency_ms(lambda: None, repeats=5, warmup=0)
    assert (got.median_ms, got.min_ms) == (pytest.approx(3), pytest.approx(1))
    assert got.spread == pytest.approx((4 - 2) / 3)


def test_one_repeat_has_no_spread_and_none_is_refused():
    assert latency_ms(lambda: None, repeats=1).spread == 0
    with pytest.raises(TersenetError, match="0 repeats"):
        latency_ms(lambda: None, repeats=0)


def test_a_limit_ends_the_turns_but_not_before_there_are_enough_for_a_median():
    slow = {"a": lambda: None, "b": lambda: None}
    assert compare_latency(slow, repeats=30, limit_s=0.0)["b"].repeats == latency.FEWEST_REPEATS
    assert compare_latency(slow, repeats=30, limit_s=60.0)["b"].repeats == 30
    assert compare_latency(slow, repeats=2, limit_s=0.0)["b"].repeats == 2
