"""The same seed draws the same examples, whoever shuffles them."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tersenet.calibration import sample_batches

X, Y = torch.arange(20.0)[:, None], torch.zeros(20, dtype=torch.int64)


class Split:
    def __len__(self):
        return len(X)

    def batch(self, indices):
        return X[indices], Y[indices]


def _shuffling():
    return DataLoader(TensorDataset(X, Y), batch_size=6, shuffle=True)


@pytest.mark.parametrize("data", [Split(), _shuffling()], ids=["split", "loader"])
def test_the_seed_alone_decides_what_is_drawn(data):
    def drawn(seed):
        torch.rand(1)  # whatever was drawn before
        before = torch.get_rng_state()
        found = torch.cat([x for x, _ in sample_batches(data, 12, 6, seed)])
        assert torch.equal(torch.get_rng_state(), before)
        return found

    first = drawn(3)
    assert len(first.unique()) == 12
    assert torch.equal(drawn(3), first) and not torch.equal(drawn(4), first)


@pytest.mark.parametrize("data", [Split(), DataLoader(TensorDataset(X[:13], Y[:13]), batch_size=6)])
def test_a_batch_of_one_is_left_out(data):
    assert [len(x) for x, _ in sample_batches(data, 13, 6, seed=0)] == [6, 6]
