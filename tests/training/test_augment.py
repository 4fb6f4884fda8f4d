"""Pictures move, whole and by as much as was asked."""

import pytest
import torch
import torch.nn.functional as F

from tersenet.errors import TersenetError
from tersenet.training.augment import augment, turned
from tersenet.training.batches import Batches
from tersenet.training.config import Affine


def drawn(x, kind, pixels, seed=0):
    return augment(x, kind, pixels, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["shift", "flip_crop", "crop", "flip"])
def test_each_picture_is_one_of_the_moves_and_all_moves_occur(kind):
    x = torch.rand(400, 2, 5, 4)
    mode = "replicate" if kind == "shift" else "constant"
    got = drawn(x, kind, None if kind == "flip" else 1)
    seen = set()
    for picture, moved in zip(x, got, strict=True):
        options = {}
        for flip in (False, True) if "flip" in kind else (False,):
            wide = F.pad(picture.flip(2)[None] if flip else picture[None], (1, 1, 1, 1), mode=mode)[0]
            places = (1,) if kind == "flip" else range(3)
            options |= {(flip, i, j): wide[:, i : i + 5, j : j + 4] for i in places for j in places}
        found = [move for move, option in options.items() if torch.equal(option, moved)]
        assert found, "not a move of its picture"
        seen.add(found[0])
    assert len(seen) == {"flip_crop": 18, "flip": 2}.get(kind, 9)


STILL = {"degrees": 0, "scale": 0, "shear": 0, "pixels": 0}


@pytest.fixture
def draws(monkeypatch):
    """Lets `turned` draw these five numbers, -1 to 1, for each picture: turn, shear, scale, right, down."""

    def draw(*numbers):
        given = (torch.tensor(numbers)[:, None] + 1) / 2
        monkeypatch.setattr(torch, "rand", lambda *shape, generator: given.expand(*shape))

    return draw


def test_affine_without_extent_changes_nothing():
    x = torch.rand(5, 2, 6, 9)
    assert torch.allclose(turned(x, Affine(**STILL), torch.Generator()), x, atol=1e-6)


@pytest.mark.parametrize(("sign", "turns"), [(1.0, 1), (-1.0, -1)])
def test_a_quarter_turn_is_a_quarter_turn(draws, sign, turns):
    x = torch.rand(2, 3, 7, 7)
    draws(sign, 0.0, 0.0, 0.0, 0.0)
    got = turned(x, Affine(**STILL | {"degrees": 90}), torch.Generator())
    assert torch.allclose(got, torch.rot90(x, -turns, (2, 3)), atol=1e-5)


def test_a_turn_of_an_oblong_picture_keeps_its_pixels_square(draws):
    """Half a turn of any shape, and a quarter one within the square that both shapes share."""
    x = torch.rand(1, 1, 5, 9)
    draws(1.0, 0.0, 0.0, 0.0, 0.0)
    assert torch.allclose(turned(x, Affine(**STILL | {"degrees": 180}), torch.Generator()), x.flip(2, 3), atol=1e-5)
    quarter = turned(x, Affine(**STILL | {"degrees": 90}), torch.Generator())
    assert torch.allclose(quarter[..., 2:7], torch.rot90(x[..., 2:7], -1, (2, 3)), atol=1e-5)


def test_a_move_a_growth_and_a_slant_are_as_large_as_told(draws):
    x = torch.rand(1, 1, 8, 8)
    draws(0.0, 0.0, 0.0, 1.0, -1.0)
    moved = turned(x, Affine(**STILL | {"pixels": 2}), torch.Generator())
    assert torch.allclose(moved[..., 2:, :6], x[..., :6, 2:], atol=1e-5)
    assert torch.allclose(moved[..., 2:, 6:], x[..., :6, 7:].expand(-1, -1, -1, 2), atol=1e-5), "the edge is repeated"
    row, column = torch.meshgrid(torch.arange(8.0) - 3.5, torch.arange(8.0) - 3.5, indexing="ij")
    ramp = (column + 10 * row)[None, None]
    draws(0.0, 0.0, 1.0, 0.0, 0.0)
    grown = turned(ramp, Affine(**STILL | {"scale": 0.25}), torch.Generator())
    assert torch.allclose(grown, ramp / 1.25, atol=1e-4), "grown by 1.25, a ramp is flatter"
    draws(0.0, 1.0, 0.0, 0.0, 0.0)
    slanted = turned(ramp, Affine(**STILL | {"shear": 45}), torch.Generator())
    inside = (column + row).abs() <= 3.5
    assert torch.allclose(slanted[0, 0][inside], (column + row + 10 * row)[inside], atol=1e-4)


@pytest.mark.parametrize("kind", ["affine", "flip_affine"])
def test_affine_moves_each_picture_in_its_own_way_by_the_generator_alone(kind):
    x = torch.rand(1, 1, 8, 8).expand(6, 1, 8, 8)
    got = drawn(x, kind, None)
    assert torch.equal(got, drawn(x, kind, None)) and not torch.equal(got, drawn(x, kind, None, seed=1))
    assert len({picture.numpy().tobytes() for picture in got}) == 6
    assert x.min() <= got.min() and got.max() <= x.max()


def test_what_comes_in_from_outside_has_the_colour_of_the_border_and_the_rest_stays():
    x, border = torch.rand(60, 3, 4, 5), torch.tensor([-1.0, 2.0, 3.0])[:, None, None]
    zeros, coloured = (
        augment(x, "flip_crop", 2, torch.Generator().manual_seed(0), border=colour) for colour in (None, border)
    )
    outside = zeros == 0
    assert outside.any() and outside.all(1).equal(outside.any(1))
    assert torch.equal(coloured, torch.where(outside, border, zeros))


def test_a_cut_picture_lacks_a_square_anywhere_and_the_rest_stays():
    x = 1 + torch.rand(300, 2, 6, 7)
    got = augment(x, "none", None, torch.Generator().manual_seed(0), cutout=3)
    lost = got == 0
    assert torch.equal(got, x.masked_fill(lost, 0)) and lost.all(1).equal(lost.any(1))
    rows, columns = lost[:, 0].any(2), lost[:, 0].any(1)
    assert torch.equal(lost[:, 0], rows[:, :, None] & columns[:, None, :]), "a rectangle"
    assert set(rows.sum(1).tolist()) == set(columns.sum(1).tolist()) == {2, 3}, "part of it may lie outside"
    assert rows.any(0).all() and columns.any(0).all()
    with pytest.raises(TersenetError, match=r"these examples have shape \(7,\): drop it"):
        augment(torch.rand(3, 7), "none", None, torch.Generator(), cutout=2)


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


def test_inputs_are_moved_about_where_they_are_trained_on_and_targets_stay():
    class Pictures:
        def __len__(self):
            return 4

        def batch(self, indices):
            return torch.ones(len(indices), 2, 3, 3), torch.zeros(len(indices), dtype=torch.int64)

    ((_, x, y),) = Batches(Pictures(), batch_size=4, seed=0, augment="flip_crop", device="meta").epoch(0)
    assert (x.device.type, y.device.type) == ("meta", "cpu")
