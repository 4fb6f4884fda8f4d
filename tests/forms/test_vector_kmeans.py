"""k-means of vectors: no worse than scikit-learn's, the same for the same seed, weights counted, bad input refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from tersenet.errors import TersenetError
from tersenet.forms._vector_kmeans import SAMPLE, cluster_vectors, costs, means, nearest, plus_plus


def laplace(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).laplace(scale=0.01, size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize(("n", "dim", "k"), [(2000, 4, 16), (1500, 8, 64)])
def test_the_error_is_that_of_scikit_learn_within_the_spread_of_seeds(n, dim, k):
    points = laplace(n, dim)
    ours, theirs = [], []
    for seed in range(3):
        centroids, codes = cluster_vectors(points, k, seed=seed)
        ours.append(costs(points, centroids[codes]).sum())
        theirs.append(KMeans(k, n_init=1, random_state=seed).fit(points).inertia_)
    assert min(ours) <= min(theirs) * 1.01


def test_many_points_start_on_a_sample_and_end_nearly_as_well():
    points = laplace(3 * SAMPLE * 4, 3)
    centroids, codes = cluster_vectors(points, 4)
    assert costs(points, centroids[codes]).sum() <= KMeans(4, n_init=1, random_state=0).fit(points).inertia_ * 1.01


def test_the_same_seed_gives_the_same_bits_and_another_one_others():
    points = laplace(600, 4)
    first, again, other = (cluster_vectors(points, 20, seed=seed)[0] for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_nearest_is_the_nearest_also_far_from_zero(weighted):
    points, centroids = laplace(300, 5) + np.float32(1000), laplace(70, 5, seed=1) + np.float32(1000)
    weights = np.random.default_rng(2).random(points.shape).astype(np.float32) if weighted else None
    apart = np.square(points[:, None].astype(np.float64) - centroids[None])
    apart = (apart * (1 if weights is None else weights[:, None])).sum(2)
    codes = nearest(points, centroids, weights)
    taken = np.take_along_axis(apart, codes[:, None], 1)[:, 0]
    assert (taken <= apart.min(1) * (1 + 1e-4) + 1e-12).all()


def test_means_are_weighted_and_a_code_without_points_keeps_its_entry():
    points = np.array([[0, 1], [4, 1], [9, 9]], np.float32)
    weights = np.array([[1, 1], [3, 0], [1, 1]], np.float32)
    before = np.full((3, 2), 7, np.float32)
    found = means(points, np.array([0, 0, 2]), weights, before)
    assert found.tolist() == [[3, 1], [7, 7], [9, 9]]


def test_what_weighs_most_is_nearest():
    points = laplace(400, 4)
    weights = np.ones_like(points)
    weights[:, 2] = 1000
    plain, weighed = (cluster_vectors(points, 8, weights=one) for one in (None, weights))
    errors = [np.square(points - centroids[codes])[:, 2].sum() for centroids, codes in (plain, weighed)]
    assert errors[1] < errors[0] / 4


def test_no_cluster_is_empty_where_points_suffice():
    # One far group of equal points and a cloud: many starts fall on the group.
    points = np.concatenate([np.full((500, 2), 50, np.float32), laplace(40, 2)])
    centroids, codes = cluster_vectors(points, 12)
    assert len(centroids) == 12 and len(np.unique(codes)) == 12


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_too_few_different_points_are_the_codebook(k):
    points = np.array([[0.0, 1], [-0.0, 1], [2, 3], [2, 3], [5, 5]], np.float32)
    centroids, codes = cluster_vectors(points, k)
    assert len(centroids) == min(k, 3)
    if k >= 3:
        assert (centroids[codes] == points).all()


def test_points_that_no_weight_reaches_do_not_stop_the_start():
    points, weights = laplace(50, 2), np.zeros((50, 2), np.float32)
    weights[0] = 1
    assert len(plus_plus(points, 5, weights, seed=0)) == 5
    centroids, codes = cluster_vectors(points, 5, weights=weights)
    assert np.allclose(centroids[codes[0]], points[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 65_537}, "65536"),
        ({"k": True}, "whole number"),
        ({"points": np.zeros((0, 3), np.float32)}, "nothing to cluster"),
        ({"points": np.full((2, 2), np.nan, np.float32)}, "4 of 4 values are NaN"),
        ({"weights": np.full((4, 2), -1, np.float32)}, "negative"),
        ({"weights": np.zeros((4, 2), np.float32)}, "all weights are 0"),
    ],
)
def test_each_refusal_is_a_sentence(change, says):
    given = {"points": laplace(4, 2), "k": 2} | change
    with pytest.raises(TersenetError, match=says):
        cluster_vectors(given.pop("points"), given.pop("k"), **given)
