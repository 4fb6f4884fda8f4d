"""Views come again the same, whatever they are fetched with, and move alike where only the pixels' scale differs."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.methods.distill import ViewAnEpoch, Views
from tersenet.training.batches import Batches


@pytest.mark.parametrize("mixup", [0, 0.5])
@pytest.mark.parametrize("kind", ["flip_crop", "shift"])
def test_a_view_is_the_same_in_every_batch(pictures, kind, mixup):
    data = pictures()
    views = Views(data, 3, augment=kind, mixup=mixup)
    whole, labels = views.batch(torch.arange(27))
    order = torch.randperm(27, generator=torch.Generator().manual_seed(1))
    again, labels_again = Views(data, 3, augment=kind, mixup=mixup).batch(order)
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


def test_a_mixed_view_lies_between_two_views_nearer_to_its_own(pictures):
    data = pictures()
    plain, mixed = (Views(data, 2, mixup=share).batch(range(18))[0].flatten(1) for share in (0, 1))
    for own, at in enumerate(mixed):
        view = range(own // 9 * 9, own // 9 * 9 + 9)
        away = [
            float((at - torch.lerp(plain[own], plain[other], _share(at, plain[own], plain[other]))).norm())
            for other in view
        ]
        assert min(away) < 1e-5
    assert not torch.equal(plain, mixed)


def _share(at, own, other):
    """Of `other` in the mix, from 0 to 1/2."""
    along = other - own
    return float(((at - own) @ along / (along @ along).clamp(min=1e-12)).clamp(0, 0.5))


def test_half_of_the_views_are_mixed_and_the_others_stay(pictures):
    data = pictures()
    plain, some = (Views(data, 40, mixup=share).batch(range(360))[0] for share in (0, 0.5))
    same = (plain == some).flatten(1).all(1).float().mean()
    assert 0.4 < same < 0.65


def test_mixed_pixels_in_another_scale_are_the_same_mix(pictures):
    data, scaled = pictures(), pictures()
    scaled.x = scaled.x * 256
    first, second = (Views(one, 2, mixup=1).batch(range(18))[0] for one in (data, scaled))
    torch.testing.assert_close(first * 256, second)


def test_points_are_mixed_without_being_moved(points):
    data = points()
    x, _ = Views(data, 3, augment="none", mixup=1).batch(range(3 * len(data)))
    assert len({one.numpy().tobytes() for one in x}) > len(data)


@pytest.mark.parametrize("mixup", [-0.1, 1.5, float("nan")])
def test_a_share_of_mixed_views_outside_0_to_1_is_refused(pictures, mixup):
    with pytest.raises(TersenetError, match="mixup"):
        Views(pictures(), 2, mixup=mixup)


def test_no_augmentation_is_one_view_of_the_data_itself(points):
    data = points()
    views = Views(data, 1, augment="none")
    assert len(views) == len(data) and torch.equal(views.batch([3, 1])[0], data.x[[3, 1]])


@pytest.mark.parametrize(("count", "kind"), [(0, "shift"), (-1, "shift"), (2, "none"), (1, "twist")])
def test_views_that_make_no_sense_are_refused(points, count, kind):
    with pytest.raises(TersenetError, match="view"):
        Views(points(), count, augment=kind)


def test_an_epoch_takes_one_view_and_the_views_come_round(pictures):
    views = Views(pictures(), 3)
    whole, labels = views.batch(torch.arange(27))
    turns = ViewAnEpoch(views, 3)
    for epoch in range(6):
        data = turns.of_epoch(epoch)
        assert len(data) == len(turns) == 9
        x, y = data.batch(torch.arange(9))
        at = slice(9 * (epoch % 3), 9 * (epoch % 3) + 9)
        assert torch.equal(x, whole[at]) and torch.equal(y, labels[at])


def test_training_takes_a_view_an_epoch(pictures):
    """Epoch 2 of two views is the first view in another order."""
    turns = ViewAnEpoch(Views(pictures(), 2), 2)
    batches = Batches(turns, batch_size=4, seed=0)
    seen = [torch.cat([x for _, x, _ in batches.epoch(epoch)]) for epoch in range(3)]
    assert batches.examples == 9 and batches.steps == 3
    first, second, again = ({one.numpy().tobytes() for one in epoch} for epoch in seen)
    assert first == again and first != second and not torch.equal(seen[0], seen[2])
