"""What is worth most stays, exactly as many as asked for."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.forms import Sparse
from tersenet.graph import capture
from tersenet.methods.saliency import attach_kept, keep_salient


@pytest.mark.parametrize("keep", [0.01, 1 / 3, 0.5, 1.0])
def test_one_share_of_all_together_or_of_each_is_kept_to_the_weight(keep):
    generator = torch.Generator().manual_seed(0)
    saliency = {"a": torch.rand(7, 5, generator=generator), "b": 10 * torch.rand(3, 4, 2, generator=generator)}
    together = keep_salient(saliency, keep)
    assert sum(int(mask.sum()) for mask in together.values()) == max(round(keep * 59), 1)
    assert together["b"].float().mean() >= together["a"].float().mean()
    for name, mask in keep_salient(saliency, dict.fromkeys(saliency, keep)).items():
        assert mask.shape == saliency[name].shape
        assert int(mask.sum()) == max(round(keep * mask.numel()), 1)
        assert mask.all() or saliency[name][mask].min() > saliency[name][~mask].max()


def test_ties_keep_the_first_so_that_all_of_what_is_worth_nothing_stays_at_one():
    assert keep_salient({"a": torch.zeros(5)}, 0.4)["a"].tolist() == [True, True, False, False, False]
    assert keep_salient({"a": torch.zeros(5)}, 1.0)["a"].all()


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.0001, float("nan")])
def test_a_fraction_outside_the_half_open_interval_is_refused(keep):
    for share in (keep, {"a": keep}):
        with pytest.raises(TersenetError, match="expected more than 0 and at most 1"):
            keep_salient({"a": torch.ones(3)}, share)


def test_kept_weights_are_held_as_such_and_nothing_changes_where_a_layer_would_lose_all():
    net = capture(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)), torch.zeros(2, 4))
    some = {"0.weight": torch.eye(3, 4, dtype=torch.bool)}
    with pytest.raises(TersenetError, match="leaves nothing of '1.weight'"):
        attach_kept(net, some | {"1.weight": torch.zeros(2, 3, dtype=torch.bool)})
    assert not net.forms()
    attach_kept(net, some)
    assert isinstance(net.form("0.weight"), Sparse)
    assert int(torch.count_nonzero(net.dense("0.weight"))) == 3
