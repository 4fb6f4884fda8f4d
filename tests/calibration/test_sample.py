"""The same seed draws the same examples, whoever shuffles them."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tersenet.calibration import sample_batches
from tersenet.errors import TersenetError

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


class Pictures:
    """Ten pictures that are 1 everywhere, of which a black pixel is -1."""

    black = -torch.ones(2, 1, 1)

    def __len__(self):
        return 10

    def batch(self, indices):
        return torch.ones(len(indices), 2, 3, 3), torch.zeros(len(indices))


def test_pictures_are_moved_as_training_moves_them_by_the_seed_alone():
    def drawn(seed, **moves):
        return torch.cat([x for x, _ in sample_batches(Pictures(), 10, 5, seed, **moves)])

    moved = drawn(0, augment="flip_crop", augment_pixels=1)
    assert moved.unique().tolist() == [-1, 1] and (moved == -1).flatten(1).any(1).sum() > 5
    assert torch.equal(moved, drawn(0, augment="flip_crop", augment_pixels=1))
    assert not torch.equal(moved, drawn(1, augment="flip_crop", augment_pixels=1))
    assert (drawn(0) == 1).all() and (drawn(0, augment="shift") == 1).all()


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(TersenetError, match=r"moves pictures of shape .* these examples have shape \(1,\)"):
        next(sample_batches(Split(), 4, 2, 0, augment="shift"))
    with pytest.raises(TersenetError, match="let your loader augment"):
        next(sample_batches(_shuffling(), 4, 2, 0, augment="shift"))
