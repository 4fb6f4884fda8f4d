"""The closed form finds what minimising the free energy by brute force finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from tersenet.errors import TersenetError
from tersenet.methods.vbmf import vbmf


def planted(rows: int, columns: int, rank: int, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    return made + noise * rng.standard_normal((rows, columns))


# An independent implementation: no threshold, no tau. One component of singular value gamma has a posterior with means a, b
# along the singular vectors and variances va, vb in each of the M and L directions; twice its free energy, with priors at
# their best (Nakajima et al. 2013, JMLR 14, eq. 14), is minimised numerically, and the noise over a fine grid.


def component(gamma: float, noise: float, small: int, large: int) -> tuple[float, float]:
    """(twice the least free energy, a b there); (0, 0) where no component is better."""

    def energy(p):
        p = np.clip(p, -50, 50)
        # Only the scale of a against b is free: va = 1.
        a, b, vb = np.exp(p)
        fit = -2 * a * b * gamma + (a**2 + large) * (b**2 + small * vb)
        return large * np.log(a**2 / large + 1) + small * np.log(b**2 / (small * vb) + 1) + fit / noise

    starts = [np.log([a, gamma / a * 0.9, noise / a**2]) for a in (3.0, 30.0)]
    best = min((minimize(energy, start, method="BFGS") for start in starts), key=lambda found: found.fun)
    # On the way to the zero solution the energy approaches 0.
    return (best.fun, float(np.exp(best.x[0] + best.x[1]))) if best.fun < -1e-6 else (0.0, 0.0)


def slow_vbmf(matrix: np.ndarray) -> tuple[int, np.ndarray, float]:
    small, large = sorted(matrix.shape)
    gammas = np.linalg.svd(matrix, compute_uv=False)

    def energy(log_noise: float) -> float:
        noise = np.exp(log_noise)
        gains = 0.0
        for gamma in gammas:
            if gamma < (np.sqrt(small) + np.sqrt(large)) * np.sqrt(noise):  # no minimum but zero below that
                break
            gains += component(gamma, noise, small, large)[0]
        return small * large * log_noise + (gammas**2).sum() / noise + gains

    high = np.log((gammas**2).sum() / (small * large))
    grid = np.linspace(high - 5, high, 21)
    best = grid[int(np.argmin([energy(one) for one in grid]))]
    noise = np.exp(minimize_scalar(energy, bounds=(best - 0.25, min(best + 0.25, high)), method="bounded").x)
    values = np.array([component(gamma, noise, small, large)[1] for gamma in gammas])
    return int((values > 0).sum()), values[values > 0], float(noise)


@pytest.mark.parametrize(
    ("rows", "columns", "rank", "noise"),
    [(4, 9, 2, 0.3), (9, 4, 2, 0.3), (6, 6, 1, 1.0), (3, 9, 0, 1.0), (1, 7, 1, 0.5)],
)
def test_rank_values_and_noise_are_those_of_the_least_free_energy(rows, columns, rank, noise):
    matrix = planted(rows, columns, rank, noise)
    found = vbmf(matrix)
    slow_rank, values, slow_noise = slow_vbmf(matrix)
    assert found.rank == slow_rank
    np.testing.assert_allclose(found.values, values, rtol=1e-3)
    assert found.noise == pytest.approx(slow_noise, rel=1e-2)


def common_evbmf(matrix: np.ndarray, *, everywhere: bool = True) -> int:
    """The rank, by the formulas in which this is usually programmed: tau at the threshold is about 2.5129 sqrt(alpha).

    everywhere   look at 400 values of the noise; else search within the bounds as if there were one minimum only
    """
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    small, large = matrix.shape
    alpha = small / large
    tau_bar = 2.5129 * np.sqrt(alpha)
    x_bar = (1 + tau_bar) * (1 + alpha / tau_bar)
    s = np.linalg.svd(matrix, compute_uv=False)

    def objective(noise):
        x = s**2 / (large * noise)
        over, under = x[x > x_bar], x[x <= x_bar]
        tau = 0.5 * (over - (1 + alpha) + np.sqrt((over - (1 + alpha)) ** 2 - 4 * alpha))
        return (
            (under - np.log(under)).sum()
            + (over - tau).sum()
            + np.log((tau + 1) / over).sum()
            + alpha * np.log(tau / alpha + 1).sum()
        )

    most = int(min(np.ceil(small / (1 + alpha)) - 1, small)) - 1
    upper = (s**2).sum() / (small * large)
    lower = max(s[most + 1] ** 2 / (large * x_bar), (s[most + 1 :] ** 2).mean() / large)
    if everywhere:
        noise = min(np.geomspace(lower, upper, 400), key=objective)
    else:
        noise = minimize_scalar(objective, bounds=(lower, upper), method="bounded").x
    return int((s > np.sqrt(large * noise * x_bar)).sum())


@pytest.mark.parametrize("shape", [(20, 60), (60, 20), (64, 576), (30, 31)])
@pytest.mark.parametrize("rank", [1, 4, 7])
def test_planted_ranks_come_back_as_from_the_common_program(shape, rank):
    matrix = planted(*shape, rank, 0.5)
    assert vbmf(matrix).rank == common_evbmf(matrix) == rank


def test_ranks_of_the_published_resnets_are_those_of_the_common_program(data_dir):
    from safetensors.torch import load_file

    from tersenet.methods.tucker2 import ranks_by_vbmf, unfoldings

    weights = load_file(data_dir / "models" / "cifar10-resnet" / "resnet20-12fca82f.safetensors")
    kernels = [weight for weight in weights.values() if weight.ndim == 4]
    assert len(kernels) == 19
    found = [ranks_by_vbmf(kernel) for kernel in kernels]
    assert found == [tuple(common_evbmf(one) for one in unfoldings(kernel)) for kernel in kernels]
    # The free energy has several minima. A search that trusts in one ends beside the least where channels are dead.
    nearby = [tuple(common_evbmf(one, everywhere=False) for one in unfoldings(kernel)) for kernel in kernels]
    assert sum(one != other for one, other in zip(found, nearby)) > 3


def test_both_orientations_and_any_scale_give_the_same():
    matrix = planted(12, 40, 3, 0.4)
    one, other, scaled = vbmf(matrix), vbmf(matrix.T.copy()), vbmf(1e-6 * matrix)
    assert one.rank == other.rank == scaled.rank == 3
    np.testing.assert_allclose(one.values, other.values, rtol=1e-6)
    np.testing.assert_allclose(1e-6 * one.values, scaled.values, rtol=1e-6)


def test_shrunk_values_lie_below_the_singular_ones_and_noise_is_near_what_was_planted():
    matrix = planted(40, 200, 5, 0.5)
    found = vbmf(matrix)
    assert (found.values < np.linalg.svd(matrix, compute_uv=False)[:5]).all()
    assert found.noise == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 7), (3, 50)])
def test_a_matrix_of_zeros_has_no_component(shape):
    found = vbmf(np.zeros(shape))
    assert found.rank == 0 and len(found.values) == 0 and found.noise == 0


def test_noise_alone_has_no_component():
    assert [vbmf(np.random.default_rng(seed).standard_normal((30, 50))).rank for seed in range(10)] == [0] * 10


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_a_low_rank_without_noise_comes_back(rank):
    found = vbmf(planted(16, 48, rank, 0.0))
    assert found.rank == rank and found.noise < 1e-15


def test_equal_numbers_are_one_component():
    assert vbmf(np.full((6, 8), 2.5)).rank == 1


def test_nan_and_nothing_are_refused():
    with pytest.raises(TersenetError, match="NaN"):
        vbmf(np.array([[1.0, np.nan]]))
    with pytest.raises(TersenetError, match="no entries"):
        vbmf(np.zeros((0, 3)))
