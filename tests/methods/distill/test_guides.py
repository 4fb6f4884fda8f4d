"""Losses between layers: worked out by hand, with the properties that their papers give them."""

from __future__ import annotations

import math

import pytest
import torch

from tersenet.methods.distill import Guide, Teacher
from tersenet.methods.distill.guides import Guides, attention_loss, attention_map, hint_loss, regressor

MAPS = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))


def test_an_attention_map_is_where_the_squares_are():
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, 0, 0, 1], maps[0, 1, 1, 0] = -2.0, math.sqrt(3)
    torch.testing.assert_close(attention_map(maps), torch.tensor([[0, 4, 3, 0]]) / 5)


def test_attention_sees_neither_channels_nor_size_nor_sign():
    others = torch.cat((MAPS, -MAPS.flip(1)), 1) * 7
    assert float(attention_loss(MAPS, others)) < 1e-10
    assert float(attention_loss(MAPS, MAPS.flip(3))) > 1e-4


def test_silent_maps_have_a_finite_gradient():
    maps = torch.zeros(1, 2, 3, 3, requires_grad=True)
    attention_loss(maps, MAPS[:1, :, :3, :3]).backward()
    assert torch.isfinite(maps.grad).all()


@pytest.mark.parametrize(
    ("student", "teacher"), [((6,), (4,)), ((3, 8, 8), (5, 8, 8)), ((3, 8, 9), (5, 6, 6)), ((1, 1, 1), (2, 1, 1))]
)
def test_a_regressor_reaches_the_teachers_shape(student, teacher):
    assert regressor(student, teacher)(torch.zeros(2, *student)).shape == (2, *teacher)


def test_a_hint_is_half_the_mean_squared_error():
    assert float(hint_loss(torch.tensor([[1.0, 5.0]]), torch.tensor([[0.0, 2.0]]))) == pytest.approx(10 / 4)


def test_terms_add_up_by_weight():
    settings = Teacher(
        hint=Guide(weight=2.0, layers=("a:t",)),
        attention={"weight": 3.0, "layers": ["a:t"]},
        features=Guide(weight=5.0),
    )
    shapes = {"a": (5, 4, 4)}
    guides = Guides(settings, shapes, {"t": (5, 4, 4)})
    mine, theirs = MAPS, MAPS.flip(0)
    expected = (
        2 * hint_loss(guides.regressors[0](mine), theirs)
        + 3 * attention_loss(mine, theirs)
        + 5 * (mine - theirs).square().mean()
    )
    torch.testing.assert_close(guides({"a": mine}, {"t": theirs}), expected)
    assert guides.layers(0) == ["a"] * 3 and guides.layers(1) == ["t"] * 3
