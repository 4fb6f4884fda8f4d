"""What a weight counts is the mean square of the inputs it meets, in the weight's own shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet.graph import capture
from tersenet.methods.importance import input_importance
from tersenet.methods.prune import attach_pruned, keep_largest
from tersenet.methods.share import as_kept, attach_values, share_weights


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 3), (6,)),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
        (nn.Conv2d(4, 3, 1), (4, 2, 2)),
        (nn.Conv1d(4, 6, 3), (4, 9)),
        (nn.ConvTranspose2d(4, 3, 2), (4, 3, 3)),
    ],
)
def test_an_error_in_one_weight_costs_the_output_its_square_times_the_importance(layer, shape):
    x = torch.randn(20, *shape, generator=torch.Generator().manual_seed(0))
    network = capture(layer.eval(), x)
    (weighted,) = network.weighted_layers()
    importance = input_importance(network, x.split(7), weighted)
    weight = network.dense(weighted.weight)
    assert importance.shape == weight.shape
    with torch.no_grad():
        before = network(x)
        for place in (0, 5, weight.numel() - 1):
            moved = weight.clone()
            moved.view(-1)[place] += 0.5
            other = network.clone()
            other.set_tensor(weighted.weight, moved)
            total = float((other(x) - before).double().square().sum())
            rows = before.numel() / before.shape[1] if weighted.op != "conv_transpose2d" else 20 * 9
            # A kernel of a transposed convolution meets each position of the input once.
            assert total / rows == pytest.approx(0.25 * float(importance.view(-1)[place]), rel=1e-3)


@pytest.mark.parametrize("held", ["dense", "zeros", "sparse", "codebook"])
def test_numbers_for_each_weight_come_in_the_shape_in_which_forms_are_fitted(held):
    torch.manual_seed(0)
    network = capture(nn.Linear(8, 5), torch.zeros(2, 8))
    if held == "zeros":
        network.set_tensor("weight", torch.where(torch.rand(5, 8) > 0.5, network.dense("weight"), 0.0))
    elif held == "sparse":
        attach_pruned(network, "weight", keep_largest(network.dense("weight"), 0.4))
    elif held == "codebook":
        share_weights(network, "weight", k=4, init="linear", table="float32", seed=0)
    seen = []

    def fit(kept):
        seen.append(kept)
        from tersenet.forms import Dense

        return Dense.fit(kept)

    numbers = as_kept(network, "weight", network.dense("weight") * 3)
    attach_values(network, "weight", fit)
    assert torch.equal(numbers, seen[0] * 3)
