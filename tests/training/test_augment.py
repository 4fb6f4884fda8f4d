"""Pictures move, whole and by as much as was asked."""

import pytest
import torch
import torch.nn.functional as F

from tersenet.errors import TersenetError
from tersenet.training.augment import augment
from tersenet.training.batches import Batches


def drawn(x, kind, pixels, seed=0):
    return augment(x, kind, pixels, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["shift", "flip_crop"])
def test_each_picture_is_one_of_the_moves_and_all_moves_occur(kind):
    x = torch.rand(400, 2, 5, 4)
    mode = "replicate" if kind == "shift" else "constant"
    got = drawn(x, kind, 1)
    seen = set()
    for picture, moved in zip(x, got, strict=True):
        options = {}
        for flip in (False, True) if kind == "flip_crop" else (False,):
            wide = F.pad(picture.flip(2)[None] if flip else picture[None], (1, 1, 1, 1), mode=mode)[0]
            options |= {(flip, i, j): wide[:, i : i + 5, j : j + 4] for i in range(3) for j in range(3)}
        found = [move for move, option in options.items() if torch.equal(option, moved)]
        assert found, "not a move of its picture"
        seen.add(found[0])
    assert len(seen) == (18 if kind == "flip_crop" else 9)


def test_what_comes_in_from_outside_has_the_colour_of_the_border_and_the_rest_stays():
    x, border = torch.rand(60, 3, 4, 5), torch.tensor([-1.0, 2.0, 3.0])[:, None, None]
    zeros, coloured = (
        augment(x, "flip_crop", 2, torch.Generator().manual_seed(0), colour) for colour in (None, border)
    )
    outside = zeros == 0
    assert outside.any() and outside.all(1).equal(outside.any(1))
    assert torch.equal(coloured, torch.where(outside, border, zeros))


def test_the_same_generator_gives_the_same_moves_and_another_one_others():
    x = torch.rand(20, 1, 6, 6)
    assert torch.equal(drawn(x, "shift", 2), drawn(x, "shift", 2))
    assert not torch.equal(drawn(x, "shift", 2), drawn(x, "shift", 2, seed=1))


def test_none_changes_nothing_and_what_is_no_picture_is_refused():
    x = torch.rand(3, 7)
    assert drawn(x, "none", None) is x
    with pytest.raises(TersenetError, match=r"these examples have shape \(7,\): use augment none"):
        drawn(x, "shift", None)


def test_training_moves_in_the_black_of_its_data():
    class White:
        black = torch.tensor([-1.0, -2.0])[:, None, None]

        def __len__(self):
            return 40

        def batch(self, indices):
            return torch.ones(len(indices), 2, 3, 3), torch.zeros(len(indices), dtype=torch.int64)

    def colours(data):
        ((_, x, _),) = Batches(data, batch_size=40, seed=0, augment="flip_crop").epoch(0)
        return [x[:, channel].unique().tolist() for channel in (0, 1)]

    assert colours(White()) == [[-1, 1], [-2, 1]]
    White.black = None
    assert colours(White()) == [[0, 1], [0, 1]]
