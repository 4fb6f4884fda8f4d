"""Laws of k-means on a line, against exact fractions, plain argmin and the kmeans1d package."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import kmeans1d
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tersenet.errors import TersenetError
from tersenet.forms._kmeans import assign, cluster, initial_centroids, lloyd, optimum

F32 = np.float32
LARGEST = float(np.finfo(np.float32).max)
TINIEST = float(np.finfo(np.float32).smallest_subnormal)
EDGES = [-LARGEST, -1.0, -TINIEST, -0.0, 0.0, TINIEST, 1.0, LARGEST]
INITS = ("forgy", "density", "linear")

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
few_values = st.one_of(
    st.lists(floats, min_size=1, max_size=9),
    st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=9),  # ties and duplicates
    st.lists(st.sampled_from(EDGES), min_size=1, max_size=9),
)


def cost(values: Any, centroids: Any, weights: Any = None) -> float:
    """Sum of w (v - c)^2 by plain numpy, each value with the nearest centroid."""
    v = np.asarray(values, np.float64)
    c = np.unique(np.asarray(centroids, np.float64))
    right = np.clip(np.searchsorted(c, v), 1, max(len(c) - 1, 1))
    nearest = np.minimum(np.abs(v - c[right - 1]), np.abs(v - c[np.minimum(right, len(c) - 1)]))
    return float((nearest**2 * (1.0 if weights is None else np.asarray(weights))).sum())


def least_cost(values: list[float], k: int, weights: list[int] | None = None) -> Fraction:
    """The optimum in fractions, by trying every last cluster: O(k n^3), for a handful of values."""
    pairs = sorted(zip(map(Fraction, values), weights or [1] * len(values), strict=True))

    def spread(i: int, j: int) -> Fraction:
        mass = sum(w for _, w in pairs[i:j])
        mean = sum(v * w for v, w in pairs[i:j]) / mass
        return sum(((v - mean) ** 2 * w for v, w in pairs[i:j]), Fraction(0))

    n = len(pairs)
    best = [spread(0, j) if j else Fraction(0) for j in range(n + 1)]
    for _ in range(k - 1):
        best = [min([best[j], *(best[i] + spread(i, j) for i in range(j))]) for j in range(n + 1)]
    return best[n]


def rounding_slack(values: Any, centroids: np.ndarray) -> float:
    """What rounding centroids to float32 can add: for each value (half a spacing at its own centroid)^2."""
    own = centroids.astype(np.float64)[assign(values, centroids)]
    return float((np.maximum(np.abs(own) * 2.0**-24, TINIEST / 2) ** 2).sum())


def hurtful() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    bulk = rng.laplace(size=600)
    cases = {
        "normal": rng.normal(size=500),
        "laplace": bulk,
        "pruned": np.where(rng.random(700) < 0.9, 0, rng.laplace(size=700)),
        "negative only": -rng.exponential(size=400) - 1,
        "integers on a grid": np.repeat(np.arange(64.0), 3),
        "two modes far apart": np.concatenate([rng.normal(-1000, 1, 200), rng.normal(1000, 1, 200)]),
        "one outlier": np.append(bulk, 1e4),
        "log-normal over many scales": np.exp(rng.normal(0, 4, 500)),
        "denormal": bulk * 1e-40,
        "huge": bulk * 1e36,
    }
    return {name: np.asarray(values, F32) for name, values in cases.items()}


@settings(max_examples=400, deadline=None)
@given(values=few_values, k=st.integers(1, 9), data=st.data())
@example(values=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], k=3, data=None)  # a price gives 1, 2, 4 or 8
@example(values=[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], k=4, data=None)
@example(values=[-LARGEST, -1.0, 1.0, LARGEST], k=3, data=None)
@example(values=[0.0, TINIEST], k=1, data=None)
def test_the_optimum_is_the_best_of_all_clusterings(values, k, data):
    count = len(values)
    weights = data.draw(st.lists(st.integers(1, 5), min_size=count, max_size=count)) if data else None
    centroids = optimum(values, k, weights)
    assert (centroids[1:] > centroids[:-1]).all() and len(centroids) == min(k, len(set(values)))
    best = float(least_cost(values, k, weights))
    slack = rounding_slack(values, centroids) * max(weights or [1])
    assert cost(values, centroids, weights) <= best * (1 + 1e-9) + slack


@pytest.mark.parametrize("k", [1, 2, 3, 7, 16, 33])
@pytest.mark.parametrize("name", hurtful())
def test_the_optimum_costs_what_the_kmeans1d_package_finds(name, k):
    values = hurtful()[name]
    scale = float(np.abs(values).max())
    unit = values.astype(np.float64) / scale  # its sums are plain prefix sums: keep them in range
    theirs = cost(unit, kmeans1d.cluster(unit, k).centroids)
    centroids = optimum(values, k)
    ours = cost(unit, centroids.astype(np.float64) / scale)
    assert ours <= theirs * (1 + 1e-6) + rounding_slack(values, centroids) / scale**2
    assert ours >= theirs * (1 - 1e-6) - 1e-12  # an oracle that beats us, or that we beat, is a broken one


@pytest.mark.parametrize("k", [1, 2, 5, 16, 64])
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("name", hurtful())
def test_no_start_of_lloyd_beats_the_optimum(name, init, k):
    values = hurtful()[name]
    k = min(k, len(np.unique(values)))
    found = lloyd(values, initial_centroids(values, k, init, 3))
    slack = rounding_slack(values, found)
    assert cost(values, optimum(values, k)) <= cost(values, found) * (1 + 1e-9) + slack


@pytest.mark.parametrize("k", [2, 5, 31])
@pytest.mark.parametrize("name", hurtful())
def test_the_optimum_is_a_fixed_point_of_lloyd(name, k):
    values = hurtful()[name]
    best = optimum(values, k)
    again = lloyd(values, best)
    np.testing.assert_allclose(again, best, rtol=1e-6, atol=float(np.abs(values).max()) * 1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 17])
@pytest.mark.parametrize("name", hurtful())
def test_lloyd_does_what_the_textbook_says_step_by_step(name, k):
    values = hurtful()[name]
    plain = np.linspace(values.min(), values.max(), k).astype(F32) if k > 1 else values[:1]
    for steps in range(1, 6):
        index = np.abs(values.astype(np.float64)[:, None] - plain.astype(np.float64)).argmin(1)
        mass = np.bincount(index, minlength=k)
        sums = np.bincount(index, values.astype(np.float64), minlength=k)
        plain = np.where(mass > 0, sums / np.maximum(mass, 1), plain).astype(F32)
        start = np.linspace(values.min(), values.max(), k).astype(F32) if k > 1 else values[:1]
        np.testing.assert_allclose(lloyd(values, start, iterations=steps), plain, rtol=1e-5, atol=TINIEST)


def test_lloyd_leaves_an_empty_cluster_where_it_was_and_returns_ascending():
    assert lloyd([0, 0, 1, 1], [50, 0.25, 0.75]).tolist() == [0, 1, 50]
    assert lloyd([5], [1, 1, 1]).tolist() == [5, 1, 1] or lloyd([5], [1, 1, 1]).tolist() == [1, 1, 5]
    assert lloyd([3, 4], [7, 9], iterations=0).tolist() == [7, 9]


def nearest_in_fractions(values: list[float], centroids: list[float]) -> list[int]:
    """Plain argmin in exact arithmetic: nearest, then lower, then first."""
    exact = [Fraction(c) for c in centroids]
    return [min(range(len(exact)), key=lambda i: (abs(Fraction(v) - exact[i]), exact[i], i)) for v in values]


@settings(max_examples=400, deadline=None)
@given(values=few_values, centroids=few_values)
@example(values=[1.0, 3.0, 2.0], centroids=[0.0, 2.0, 4.0])  # ties
@example(values=[-5.0, 0.0, 0.2, 1.0], centroids=[0.0, 0.0, 0.0, 1.0, 1.0])  # duplicates
@example(values=[0.0, TINIEST], centroids=[0.0, TINIEST])  # the middle is no float
@example(values=[-1.0, 0.0, 1.0], centroids=[-LARGEST, LARGEST])
@example(values=[LARGEST / 2, LARGEST], centroids=[TINIEST, LARGEST])  # their sum needs more than 53 bits
@example(values=[LARGEST / 2, LARGEST], centroids=[-TINIEST, LARGEST])
@example(values=[0.2, 0.9], centroids=[1.0, 0.0, 0.0])  # not sorted
def test_assign_is_argmin_in_exact_arithmetic(values, centroids):
    assert assign(values, centroids).tolist() == nearest_in_fractions(values, centroids)


@settings(max_examples=200, deadline=None)
@given(low=floats, high=floats, steps=st.integers(-3, 3))
def test_assign_is_exact_in_the_floats_around_every_midpoint(low, high, steps):
    value = F32((low + high) / 2)
    for _ in range(abs(steps)):
        value = np.nextafter(value, F32(LARGEST if steps > 0 else -LARGEST))
    assert assign([value], [low, high]).tolist() == nearest_in_fractions([float(value)], [low, high])


@pytest.mark.parametrize("k", [1, 2, 255, 256, 257, 5000])
@pytest.mark.parametrize("spread", ["even", "crowded", "one far away"])
def test_assign_agrees_with_a_search_of_midpoints_for_many_centroids(k, spread):
    rng = np.random.default_rng(k)
    centroids = {
        "even": np.linspace(-1, 1, k),
        "crowded": np.exp(rng.normal(0, 12, k)),
        "one far away": np.append(rng.normal(size=k - 1) * 1e-6, 1e30),
    }[spread].astype(F32)
    centroids.sort()
    drawn = rng.normal(size=2000)
    values = np.concatenate([centroids, drawn, drawn * 1e-6, [-1e38, 1e38]]).astype(F32)
    got = assign(values, centroids)
    distance = np.abs(values.astype(np.float64)[:, None] - centroids.astype(np.float64))
    np.testing.assert_array_equal(distance[np.arange(len(values)), got], distance.min(1))


@pytest.mark.parametrize(
    ("k", "dtype"),
    [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")],
)
def test_indices_take_the_smallest_type_that_holds_them(k, dtype):
    got = assign(np.array([[-1.0, k]]), np.arange(k))
    assert got.dtype == dtype and got.tolist() == [[0, k - 1]]


@pytest.mark.parametrize("k", [1, 2, 6])
def test_integer_weights_count_as_repetitions(k):
    rng = np.random.default_rng(2)
    values = rng.normal(size=200).astype(F32)
    weights = rng.integers(0, 6, 200)
    repeated = np.repeat(values, weights)
    np.testing.assert_allclose(optimum(values, k, weights), optimum(repeated, k), rtol=1e-6)
    start = initial_centroids(repeated, k, "density", 0)
    np.testing.assert_array_equal(initial_centroids(values, k, "density", 0, weights=weights), start)
    np.testing.assert_allclose(lloyd(values, start, weights=weights), lloyd(repeated, start), rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 3.0, 1e300])
def test_only_the_ratios_of_weights_count(factor):
    values = np.random.default_rng(3).normal(size=300)
    weights = np.random.default_rng(4).random(300)
    np.testing.assert_allclose(optimum(values, 8, weights * factor), optimum(values, 8, weights), rtol=1e-6)


def test_a_value_of_weight_zero_pulls_nothing_and_is_still_assigned():
    centroids, indices = cluster([0, 1, 100], 2, weights=[1, 1, 0])
    assert centroids.tolist() == [0, 1] and indices.tolist() == [0, 1, 1]


@pytest.mark.parametrize("init", [*INITS, "optimum"])
def test_more_centroids_than_values_give_the_values_exactly(init):
    values = np.array([[2, -1, 2], [-0.0, 0.0, 7]], F32)
    centroids, indices = cluster(values, 5, init=init)
    assert centroids.tolist() == [-1, 0, 2, 7] and indices.shape == values.shape
    np.testing.assert_array_equal(centroids[indices], values)


@pytest.mark.parametrize("init", [*INITS, "optimum"])
@pytest.mark.parametrize("values", [[4.5], [0, 0, 0], [-TINIEST] * 3, [LARGEST] * 2])
def test_constant_values_give_one_centroid(values, init):
    centroids, indices = cluster(values, 7, init=init)
    assert centroids.tolist() == [F32(values[0])] and not indices.any()


@pytest.mark.parametrize("init", [*INITS, "optimum"])
def test_one_centroid_is_the_mean(init):
    centroids, indices = cluster([1, 2, 6, 7], 1, init=init)
    assert centroids.tolist() == [4] and indices.tolist() == [0] * 4


@pytest.mark.parametrize("init", [*INITS, "optimum"])
def test_as_many_centroids_as_different_values_cost_nothing(init):
    values = np.random.default_rng(1).normal(size=100).astype(F32)
    centroids, indices = cluster(values, 100, init=init)
    np.testing.assert_array_equal(centroids[indices], values)


def test_linear_spaces_the_range_density_the_mass_and_forgy_draws_different_values():
    values = np.array([0, 0, 0, 0, 1, 2, 3, 10], F32)
    assert initial_centroids(values, 3, "linear", 0).tolist() == [0, 5, 10]
    assert initial_centroids(values, 1, "linear", 0).tolist() == [5]
    assert initial_centroids(values, 4, "density", 0).tolist() == [0, 0, 1, 3]
    for seed in range(20):
        drawn = initial_centroids(values, 5, "forgy", seed)
        assert drawn.tolist() == [0, 1, 2, 3, 10]
    drawn = {tuple(initial_centroids(values, 2, "forgy", seed)) for seed in range(40)}
    assert len(drawn) > 3 and all(a < b and {a, b} <= set(values) for a, b in drawn)


@pytest.mark.parametrize("init", INITS)
def test_initial_centroids_survive_the_whole_range_of_floats(init):
    got = initial_centroids([-LARGEST, 0, LARGEST], 3, init, 0)
    assert got.dtype == F32 and got.tolist() == [F32(-LARGEST), 0, F32(LARGEST)]


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    """200,000 values, nearly all different: too many for the exact path."""
    values = np.random.default_rng(7).laplace(size=200_000).astype(F32)
    assert len(np.unique(values)) > 65_536
    return values


def test_the_histogram_is_within_a_ten_thousandth_of_the_optimum(many):
    exact = cost(many, kmeans1d.cluster(many.astype(np.float64), 16).centroids)
    assert cost(many, optimum(many, 16)) <= exact * (1 + 1e-4)


def test_one_outlier_does_not_blind_the_histogram(many):
    """A linear histogram would hold all but one value in a single bin."""
    exact = cost(many, kmeans1d.cluster(many.astype(np.float64), 15).centroids)
    assert cost(np.append(many, F32(1e8)), optimum(np.append(many, F32(1e8)), 16)) <= exact * (1 + 1e-4)


def test_the_histogram_takes_weights(many):
    weights = np.random.default_rng(8).integers(1, 4, many.size)
    repeated = np.repeat(many, weights)
    np.testing.assert_allclose(optimum(many, 12, weights), optimum(repeated, 12), rtol=1e-3)


def test_lloyd_on_more_values_than_it_sorts_is_lloyd(many):
    large = np.tile(many, 22)
    assert large.size > 1 << 22
    start = initial_centroids(many, 16, "linear", 0)
    assert cost(many, lloyd(large, start)) <= cost(many, lloyd(many, start)) * (1 + 1e-3)


def test_the_edge_of_the_exact_path_is_exact():
    values = np.arange(65_536, dtype=F32)
    assert optimum(values, 4).tolist() == [8191.5, 24575.5, 40959.5, 57343.5]
    assert optimum(values, 65_536).tolist() == values.tolist()


@pytest.mark.parametrize("init", [*INITS, "optimum"])
def test_the_same_input_gives_the_same_bits(many, init):
    first, second = (cluster(many, 20, init=init, seed=4) for _ in range(2))
    assert first[0].tobytes() == second[0].tobytes() and first[1].tobytes() == second[1].tobytes()


def test_float16_values_are_converted_before_anything_is_sorted():
    values = np.random.default_rng(0).normal(size=3000).astype(np.float16)
    for init in [*INITS, "optimum"]:
        half, single = (cluster(v, 9, init=init)[0] for v in (values, values.astype(F32)))
        assert half.tobytes() == single.tobytes()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cluster([], 2), "no values"),
        (lambda: cluster([1, np.nan, np.inf], 2), "2 of 3 values"),
        (lambda: cluster([1e39], 2), "1 of 1 values"),
        (lambda: cluster(np.array([-np.inf], np.float16), 2), "1 of 1 values"),
        (lambda: cluster([1j], 2), "complex"),
        (lambda: cluster(["a"], 2), "real numbers"),
        (lambda: cluster([1, 2], 0), "k is 0"),
        (lambda: cluster([1, 2], -3), "k is -3"),
        (lambda: cluster([1, 2], 65_537), "65536"),
        (lambda: cluster([1, 2], 2.0), "whole number"),  # type: ignore[arg-type]
        (lambda: cluster([1, 2], True), "whole number"),
        (lambda: cluster([1, 2], 2, init="best"), "'best' is unknown"),  # type: ignore[arg-type]
        (lambda: initial_centroids([1, 2], 2, "best", 0), "'best' are unknown"),  # type: ignore[arg-type]
        (lambda: initial_centroids([1, 2, 2], 3, "forgy", 0), "3 different values and there are 2"),
        (lambda: optimum([1, 2], 0), "k is 0"),
        (lambda: optimum([], 1), "no values"),
        (lambda: optimum([1, 2], 2, [1]), "1 weights came for 2 values"),
        (lambda: optimum([1, 2], 2, [1, -1]), "negative"),
        (lambda: optimum([1, 2], 2, [1, np.nan]), "NaN"),
        (lambda: optimum([1, 2], 2, [0, 0]), "all weights are 0"),
        (lambda: lloyd([1, 2], []), "centroids of shape"),
        (lambda: lloyd([1, 2], [np.nan]), "finite"),
        (lambda: lloyd([1, 2], [1], iterations=-1), "iterations is -1"),
        (lambda: assign([1, 2], [[1]]), "centroids of shape"),
        (lambda: assign([np.nan], [1]), "1 of 1 values"),
    ],
)
def test_each_refusal_is_a_sentence_of_ours(call, says):
    with pytest.raises(TersenetError, match=says):
        call()


def test_no_values_are_assigned_to_no_indices():
    assert assign(np.zeros((0, 3)), [1, 2]).shape == (0, 3)
