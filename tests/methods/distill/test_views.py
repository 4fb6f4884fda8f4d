"""Views come again the same, whatever they are fetched with, and move alike where only the pixels' scale differs."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.methods.distill import Views


@pytest.mark.parametrize("kind", ["flip_crop", "shift"])
def test_a_view_is_the_same_in_every_batch(pictures, kind):
    data = pictures()
    views = Views(data, 3, augment=kind)
    whole, labels = views.batch(torch.arange(27))
    order = torch.randperm(27, generator=torch.Generator().manual_seed(1))
    again, labels_again = Views(data, 3, augment=kind).batch(order)
    assert torch.equal(again, whole[order]) and torch.equal(labels_again, labels[order])
    assert torch.equal(views.batch([5])[0], whole[5:6])


def test_views_of_an_example_keep_its_label_and_differ(pictures):
    data = pictures()
    x, y = Views(data, 4).batch(torch.arange(36))
    assert torch.equal(y.reshape(4, 9), data.y.expand(4, 9))
    assert all(len({one.numpy().tobytes() for one in x[i::9]}) > 1 for i in range(9))


def test_more_views_leave_the_first_ones_as_they_are(pictures):
    data = pictures()
    assert torch.equal(Views(data, 2).batch(range(18))[0], Views(data, 5).batch(range(18))[0])


def test_another_seed_moves_otherwise(pictures):
    data = pictures()
    first, second = (Views(data, 1, seed=seed).batch(range(9))[0] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_other_pixels_of_the_same_data_move_alike(pictures):
    data, scaled = pictures(), pictures()
    scaled.x = scaled.x * 256
    assert torch.equal(Views(data, 2).batch(range(18))[0] * 256, Views(scaled, 2).batch(range(18))[0])


def test_no_augmentation_is_one_view_of_the_data_itself(points):
    data = points()
    views = Views(data, 1, augment="none")
    assert len(views) == len(data) and torch.equal(views.batch([3, 1])[0], data.x[[3, 1]])


@pytest.mark.parametrize(("count", "kind"), [(0, "shift"), (-1, "shift"), (2, "none")])
def test_views_that_make_no_sense_are_refused(points, count, kind):
    with pytest.raises(TersenetError, match="view"):
        Views(points(), count, augment=kind)
