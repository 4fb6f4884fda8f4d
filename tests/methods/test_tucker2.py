"""The Tucker decomposition is as good as the oracle's, and its layers compute the product."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.methods._factorable import factorable
from tersenet.methods.tucker2 import (
    factorise_convolutions,
    formula_rate,
    numbers,
    ranks_by_energy,
    ranks_by_vbmf,
    tucker2,
)


def kernel(t: int = 12, s: int = 9, seed: int = 0, *size: int) -> torch.Tensor:
    return torch.randn(t, s, *(size or (3, 3)), generator=torch.Generator().manual_seed(seed))


def planted(t: int, s: int, p: int, q: int, noise: float = 0.0) -> torch.Tensor:
    """A kernel of ranks (p, q) exactly, and noise."""
    made = torch.einsum(
        "qpkl,tq,sp->tskl", kernel(q, p, 1), kernel(t, q, 2, 1, 1)[..., 0, 0], kernel(s, p, 3, 1, 1)[..., 0, 0]
    )
    return made + noise * kernel(t, s, 4)


@pytest.mark.parametrize("ranks", [(1, 1), (3, 5), (5, 3), (8, 11), (9, 5), (4, 12), (9, 12)])
def test_it_holds_as_much_energy_as_the_oracle(ranks):
    tensorly = pytest.importorskip("tensorly")
    from tensorly.decomposition import partial_tucker

    weight = kernel().double()
    found = tucker2(weight, ranks, sweeps=200)
    (core, factors), _ = partial_tucker(
        weight.numpy(), rank=(ranks[1], ranks[0]), modes=[0, 1], n_iter_max=500, init="svd", tol=1e-10
    )
    oracle = tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
    error, best = (float(((weight - torch.as_tensor(one)) ** 2).sum()) for one in (found.product(), oracle))
    assert error == pytest.approx(best, rel=2e-3, abs=1e-18)
    assert found.energy == pytest.approx(1 - error / float(weight.square().sum()), abs=1e-9)


def test_sweeps_only_gain():
    weight = planted(16, 14, 5, 6, noise=3.0)
    energies = [tucker2(weight, (3, 3), sweeps).energy for sweeps in range(8)]
    assert all(after >= before - 1e-12 for before, after in pairwise(energies)) and energies[-1] > energies[0]
    assert 1 < tucker2(weight, (3, 3)).sweeps < 50


@pytest.mark.parametrize(("t", "s", "p", "q"), [(12, 9, 4, 5), (9, 12, 1, 1), (6, 7, 7, 2), (8, 5, 3, 8)])
def test_planted_ranks_are_exact(t, s, p, q):
    weight = planted(t, s, p, q).double()
    found = tucker2(weight, (p, q))
    torch.testing.assert_close(found.product(), weight, atol=1e-6 * float(weight.abs().max()), rtol=1e-6)
    assert ranks_by_energy(weight, 1.0) == (p, q)
    eye = torch.eye(p, dtype=torch.float64)
    torch.testing.assert_close(found.into.T @ found.into, eye)


def test_vbmf_finds_planted_ranks_under_noise():
    assert ranks_by_vbmf(planted(64, 32, 5, 9, noise=0.5)) == (5, 9)
    assert ranks_by_vbmf(kernel(32, 16)) == (0, 0)


@pytest.mark.parametrize("ranks", [(3, 4), (9, 4), (3, 12), (1, 1)])
def test_the_layers_compute_what_the_product_does_and_a_full_side_has_none(ranks):
    model = nn.Conv2d(9, 12, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    x = torch.randn(2, 9, 8, 7)
    network = capture(nn.Sequential(model), x)
    weight = network.dense("0.weight")
    smaller, notes = factorise_convolutions(network, network.weighted_layers(), {"0.weight": ranks})
    product = tucker2(weight, ranks).product().float()
    with torch.no_grad():
        torch.testing.assert_close(
            smaller(x), F.conv2d(x, product, model.bias, (2, 1), (1, 0), (1, 2)), rtol=1e-4, atol=1e-5
        )
    layers = smaller.weighted_layers()
    assert len(layers) == 1 + (ranks[0] < 9) + (ranks[1] < 12)
    stored = sum(smaller.dense(layer.weight).numel() for layer in layers)
    assert stored == numbers(weight.shape, ranks) < weight.numel()
    assert f"{4 * stored:,} bytes of {4 * weight.numel():,}" in notes[0]


def test_a_convolution_of_one_dimension():
    x = torch.randn(2, 9, 20)
    network = capture(nn.Sequential(nn.Conv1d(9, 12, 5, padding=2)), x)
    smaller, _ = factorise_convolutions(network, network.weighted_layers(), {"0.weight": (2, 3)})
    product = tucker2(network.dense("0.weight"), (2, 3)).product().float()
    with torch.no_grad():
        expected = F.conv1d(x, product, network.dense("0.bias"), padding=2)
        torch.testing.assert_close(smaller(x), expected, rtol=1e-4, atol=1e-5)


def test_the_formula_and_what_stays_as_it_is():
    assert formula_rate((12, 9, 3, 3), (3, 4)) == pytest.approx(12 * 9 * 9 / (27 + 108 + 48))
    network = capture(nn.Sequential(nn.Conv2d(9, 12, 3)), torch.randn(2, 9, 8, 8))
    same, notes = factorise_convolutions(network, network.weighted_layers(), {"0.weight": (8, 11)})
    assert same.graph == network.graph
    assert notes == ["0: left as it is; ranks 8 of 9 in, 11 of 12 out take 996 numbers, the layer itself 972"]
    same, notes = factorise_convolutions(network, network.weighted_layers(), {"0.weight": (0, 3)})
    assert same.graph == network.graph and "all of it would be noise" in notes[0]


def test_bad_requests_are_refused():
    with pytest.raises(
        TersenetError, match=r"ranks \(10, 3\) for a convolution of 9 to 12 channels; .* 1 to 9 and 1 to 12"
    ):
        tucker2(kernel(), (10, 3))
    network = capture(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(36, 2)), torch.randn(2, 4, 5, 5))  # fmt: skip
    with pytest.raises(TersenetError) as refused:
        factorable(network, "*", "tucker2", spatial=True)
    assert str(refused.value) == (
        "tucker2: '*' names no layer that can be factorised. 0: left as it is; it has no kernel of more than one place; "
        "low_rank is for such layers. 1: left as it is; its channels are in groups. 3: left as it is; it has no kernel of "
        "more than one place; low_rank is for such layers"
    )


def test_the_same_weight_gives_the_same_bits():
    one, other = (tucker2(kernel(), (3, 4)) for _ in range(2))
    assert np.array_equal(one.core.numpy(), other.core.numpy())
