"""Pictures move, whole and by as much as was asked."""

import pytest
import torch
import torch.nn.functional as F

from tersenet.errors import TersenetError
from tersenet.training.augment import augment


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


def test_the_same_generator_gives_the_same_moves_and_another_one_others():
    x = torch.rand(20, 1, 6, 6)
    assert torch.equal(drawn(x, "shift", 2), drawn(x, "shift", 2))
    assert not torch.equal(drawn(x, "shift", 2), drawn(x, "shift", 2, seed=1))


def test_none_changes_nothing_and_what_is_no_picture_is_refused():
    x = torch.rand(3, 7)
    assert drawn(x, "none", None) is x
    with pytest.raises(TersenetError, match=r"these examples have shape \(7,\): use augment none"):
        drawn(x, "shift", None)
