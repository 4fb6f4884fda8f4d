"""How long a call takes, and how calls compare on a machine that others use too."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tersenet.errors import TersenetError

MS_PER_NS = 1e-6
# What a median needs at least, whatever the time takes.
FEWEST_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Wall time of one call, over `repeats` calls.

    spread   the middle half of the times, as a fraction of the median: above 0.1 the machine was busy
    """

    median_ms: float
    min_ms: float
    spread: float
    repeats: int


def latency_ms(fn: Callable[[], Any], *, repeats: int = 30, warmup: int = 3) -> Latency:
    """Time `fn`, after `warmup` calls that are not counted."""
    return compare_latency({"": fn}, repeats=repeats, warmup=warmup)[""]


def compare_latency(
    calls: Mapping[str, Callable[[], Any]], *, repeats: int = 30, warmup: int = 3, limit_s: float | None = None
) -> dict[str, Latency]:
    """Time several calls in turns, so that what disturbs the machine disturbs them alike.

    limit_s   where it passes, warm-up included, fewer repeats do, but no fewer than FEWEST_REPEATS
    """
    if repeats < 1 or warmup < 0:
        raise TersenetError(f"{repeats} repeats after {warmup} calls of warm-up; take 1 or more after 0 or more")
    began = time.monotonic()
    for fn in calls.values():
        for _ in range(warmup):
            fn()
    times_ns: dict[str, list[int]] = {name: [] for name in calls}
    for turn in range(repeats):
        if limit_s is not None and turn >= FEWEST_REPEATS and time.monotonic() - began > limit_s:
            break
        for name, fn in calls.items():
            start = time.perf_counter_ns()
            fn()
            times_ns[name].append(time.perf_counter_ns() - start)
    return {name: _summary(times) for name, times in times_ns.items()}


def _summary(times_ns: list[int]) -> Latency:
    median = statistics.median(times_ns)
    quarters = statistics.quantiles(times_ns, n=4, method="inclusive") if len(times_ns) > 1 else [median] * 3
    return Latency(
        median_ms=median * MS_PER_NS,
        min_ms=min(times_ns) * MS_PER_NS,
        spread=(quarters[2] - quarters[0]) / median if median else 0.0,
        repeats=len(times_ns),
    )
