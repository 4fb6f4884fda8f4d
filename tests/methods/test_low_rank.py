"""Factors are the best there are of their rank, also as inputs see it, and budgets are kept."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from tersenet.artifact import stored
from tersenet.errors import TersenetError
from tersenet.graph import Network, capture
from tersenet.methods._factorable import factorable
from tersenet.methods.low_rank import (
    TENSOR_BYTES,
    factorise_layers,
    formula_rate,
    rank_by_energy,
    rank_by_numbers,
    rank_by_vbmf,
    ranks_within,
    shrinks,
    spectra,
)
from tersenet.storage import size_bytes


def network(*, bias: bool = True) -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(72, 20, bias=bias), nn.ReLU(),
        nn.Linear(20, 6),
    )  # fmt: skip
    return capture(model, torch.zeros(2, 3, 6, 6)).eval()


def inputs(count: int = 200) -> torch.Tensor:
    """Pictures whose pixels depend on each other, away from zero, and of which one is always dark."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 5, generator=generator) @ torch.randn(5, 108, generator=generator) + 0.7
    x = (x + 0.1 * torch.randn(count, 108, generator=generator)).reshape(count, 3, 6, 6)
    x[:, :, 0, 0] = 0
    return x


def found(net: Network, where: str = "*", batches=None):
    return spectra(net, factorable(net, where, "low_rank")[0], batches)


def test_factors_are_the_truncated_svd_and_share_the_scale():
    for one in found(network()):
        u, s, v = np.linalg.svd(one.matrix, full_matrices=False)
        for rank in (1, 2, one.full):
            a, b = one.factors(rank)
            assert a.shape[1] == b.shape[0] == rank
            np.testing.assert_allclose(a @ b, u[:, :rank] * s[:rank] @ v[:rank], atol=1e-12)
            np.testing.assert_allclose(a.T @ a, b @ b.T, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_weighted_factors_make_the_least_error_on_the_inputs(bias):
    net, x = network(bias=bias), inputs()
    (plain,), (weighted,) = found(net, "3"), found(net, "3", [x])
    with torch.no_grad():
        rows = torch.relu(nn.functional.conv2d(x, net.dense("0.weight"), net.dense("0.bias") if bias else None, 2, 1))
    rows = rows.flatten(1).double().numpy()
    centred = rows - rows.mean(0) if bias else rows

    def error(matrix: np.ndarray) -> float:
        return float(np.square(centred @ (plain.matrix - matrix).T).sum())

    for rank in (1, 3, 10):
        a, b = weighted.factors(rank)
        best = error(a @ b)
        assert best < error(np.matmul(*plain.factors(rank)))
        # What a step from there in any direction gives is no better, nor is the least-squares fit of one factor.
        fitted = np.linalg.lstsq(centred @ b.T, centred @ plain.matrix.T, rcond=None)[0].T
        assert best <= error(fitted @ b) * (1 + 1e-6)
        rng = np.random.default_rng(rank)
        for _ in range(20):
            assert best <= error((a + 1e-3 * rng.standard_normal(a.shape)) @ (b + 1e-3 * rng.standard_normal(b.shape)))
        # The rest of the energies is that error.
        np.testing.assert_allclose(weighted.energies[rank:].sum(), best / len(rows), rtol=1e-3)


def test_the_bias_takes_up_the_mean_of_what_is_lost():
    net, x = network(), inputs()
    smaller, _ = factorise_layers(net, found(net, "3", [x]), {"3.weight": 2})
    before, after = [], []
    for one, seen in ((net, before), (smaller, after)):
        layer = next(layer for layer in reversed(one.weighted_layers()) if layer.name in ("3", "3.1"))
        with torch.no_grad():
            one.watch((x,), {layer.index: lambda given, result, seen=seen: seen.append(result.mean(0))})
    torch.testing.assert_close(after[0], before[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("energies", [[4.0, 3.0, 2.0, 1.0], [1.0, 0.0, 0.0], [1.0]])
def test_the_least_rank_that_holds_the_energy(energies):
    energies = np.array(energies)
    for share in (1e-9, 0.1, 0.4, 0.41, 0.7, 0.9, 1.0):
        rank = rank_by_energy(energies, share)
        assert energies[:rank].sum() >= share * energies.sum() - 1e-9
        assert rank == 1 or energies[: rank - 1].sum() < share * energies.sum()


def test_shares_of_numbers_and_vbmf():
    conv, hidden, last = found(network())
    assert [rank_by_numbers(one, 0.5) for one in (conv, hidden, last)] == [3, 7, 2]
    assert rank_by_numbers(last, 1e-9) == 1
    assert formula_rate(hidden, 7) == pytest.approx(20 * 72 / (7 * 93))
    assert [rank_by_vbmf(one) for one in (conv, hidden, last)] == [0, 0, 0]  # fresh weights are noise


def cost(one, rank: int) -> int:
    return one.numbers(rank) if shrinks(one, rank) else one.matrix.size


def test_a_budget_is_kept_and_no_choice_within_it_is_much_better():
    several = found(network())
    errors = [
        [1 - one.energies[:rank].sum() / one.energies.sum() for rank in range(1, one.full + 1)] for one in several
    ]
    choices = list(itertools.product(*(range(1, one.full + 1) for one in several)))
    whole = sum(one.matrix.size for one in several)
    last = None
    for budget in (whole, whole - 1, whole // 2, whole // 4, 200):
        ranks = ranks_within(several, budget)
        spent = sum(cost(one, rank) for one, rank in zip(several, ranks))
        error = sum(each[rank - 1] if shrinks(one, rank) else 0 for one, each, rank in zip(several, errors, ranks))
        best = min(
            sum(each[rank - 1] if shrinks(one, rank) else 0 for one, each, rank in zip(several, errors, pick))
            for pick in choices
            if sum(cost(one, rank) for one, rank in zip(several, pick)) <= budget
        )
        assert spent <= budget and best - 1e-9 <= error <= best + 0.05
        assert last is None or error >= last - 1e-9
        last = error
    assert ranks_within(several, whole) == [one.full for one in several]
    with pytest.raises(TersenetError, match="a budget of 100 for 3 layers, which take 153 even at rank 1"):
        ranks_within(several, 100)


def test_a_budget_of_bytes_is_what_the_tensors_take_in_a_file():
    net = network()
    several = found(net)
    for budget in (1600, 3000, 5000):
        ranks = ranks_within(several, budget, number_bytes=4, tensor_bytes=TENSOR_BYTES)
        smaller, _ = factorise_layers(net, several, dict(zip((one.layer.weight for one in several), ranks)))
        names = [name for name in smaller.graph.parameters if name.endswith("weight")]
        assert sum(size_bytes(stored(smaller, name, "raw"), "raw") for name in names) <= budget


def test_what_takes_no_fewer_numbers_stays_as_it_is():
    net = network()
    several = found(net)
    smaller, notes = factorise_layers(net, several, {"0.weight": 7, "3.weight": 3, "5.weight": 0})
    assert "0.weight" in smaller.graph.parameters and "5.weight" in smaller.graph.parameters
    assert notes == [
        "0: left as it is; rank 7 of 8 takes 245 numbers, the layer itself 216",
        f"3: rank 3 of 20, {100 * several[1].energies[:3].sum() / several[1].energies.sum():.1f} % of its energy; 5.16x by "
        "m n / (k (m + n + 1)), 1,104 bytes of 5,760 as plain numbers",
        "5: left as it is; rank 0 of 6, so that all of it would be noise",
    ]


def test_bad_requests_are_refused():
    net = network()
    with pytest.raises(TersenetError, match="layer '5': rank 7 for a weight of 6 x 20; expected is 1 to 6"):
        factorise_layers(net, found(net, "5"), {"5.weight": 7})
    with pytest.raises(TersenetError, match="no layer matches 'fc9'"):
        factorable(net, "fc9", "low_rank")
    for value, sentence in (
        (float("nan"), "1440 of 1440 weights are NaN"),
        (0.5, "all weights are 0.5"),
        (0, "are 0;"),
    ):
        net.set_tensor("3.weight", torch.full((20, 72), float(value)))
        with pytest.raises(TersenetError, match=sentence):
            factorable(net, "*", "low_rank")
    table = capture(nn.Embedding(5, 3), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(TersenetError, match="names no layer that can be factorised. .* it is embedding"):
        factorable(table, "*", "low_rank")
    with pytest.raises(TersenetError, match="meets constant inputs"):
        found(network(), "0", [torch.zeros(4, 3, 6, 6)])
