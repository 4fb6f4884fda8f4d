"""Layers are paired by shape and depth, and what cannot be paired is refused with the reason."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.methods.distill.layers import layer_shapes
from tersenet.methods.distill.pairs import check_pair, find_pairs
from tersenet.zoo import network

STUDENT = {"a": (4, 8, 8), "b": (4, 8, 8), "c": (8, 4, 4), "pool": (8,)}
TEACHER = {"t1": (6, 8, 8), "t2": (6, 8, 8), "t3": (8, 4, 4), "t4": (8, 2, 2), "t5": (20,)}


def test_a_hint_goes_to_the_last_layer_of_the_stage_nearest_to_the_middle():
    assert find_pairs("hint", STUDENT, TEACHER) == [("c", "t3")]
    assert find_pairs("hint", STUDENT | {"more": (9,), "most": (9,)}, TEACHER | {"less": (1,)}) == [("c", "t3")]
    assert find_pairs("hint", {"a": (4, 8, 8), "b": (4, 4, 4), "c": (1,), "d": (1,)}, TEACHER) == [("b", "t3")]


def test_attention_goes_between_all_maps_of_a_size():
    assert find_pairs("attention", STUDENT, TEACHER) == [("b", "t2"), ("c", "t3")]


def test_features_need_equal_shapes():
    assert find_pairs("features", STUDENT, TEACHER) == [("c", "t3")]


def test_layers_without_maps_meet_in_the_middle():
    student = {"1": (9,), "2": (8,), "3": (7,)}
    teacher = {"1": (10,), "2": (11,), "3": (12,), "4": (13,), "5": (14,)}
    assert find_pairs("hint", student, teacher) == [("2", "3")]


@pytest.mark.parametrize("kind", ["hint", "attention", "features"])
@pytest.mark.parametrize("teacher", [{}, {"t": (3, 5, 5)}, {"t": (7, 3)}])
def test_where_nothing_matches_it_is_said(kind, teacher):
    with pytest.raises(TersenetError, match=f"can be matched for {kind}"):
        find_pairs(kind, {"a": (4, 4, 4)}, teacher)


def test_resnets_of_the_zoo_meet_at_the_ends_of_their_stages():
    x = torch.zeros(2, 3, 32, 32)
    student, teacher = layer_shapes(network("resnet8"), x), layer_shapes(network("resnet20"), x)
    assert [theirs for _, theirs in find_pairs("attention", student, teacher)][:3] == ["layer1", "layer2", "layer3"]
    assert find_pairs("hint", student, teacher) == [("batch_normalization_4", "layer2")]


@pytest.mark.parametrize(
    ("kind", "names", "why"),
    [
        ("hint", ("a", "gone"), "teacher has no layer 'gone'"),
        ("hint", ("gone", "t1"), "student has no layer 'gone'"),
        ("hint", ("c", "t1"), "student's map is smaller"),
        ("hint", ("a", "t5"), "a regressor goes from"),
        ("attention", ("a", "t3"), "one height and width"),
        ("attention", ("pool", "t5"), "both must give"),
        ("features", ("a", "t1"), "shapes must be equal"),
    ],
)
def test_named_pairs_that_cannot_be_matched_are_refused(kind, names, why):
    with pytest.raises(TersenetError, match=why):
        check_pair(kind, names, STUDENT, TEACHER)


@pytest.mark.parametrize(("side", "fits"), [(8, True), (14, True), (15, False)])
def test_a_regressor_may_shrink_a_map_by_a_small_kernel_only(side, fits):
    student, teacher = {"a": (4, side, side)}, {"t": (4, 8, 8)}
    if fits:
        check_pair("hint", ("a", "t"), student, teacher)
    else:
        with pytest.raises(TersenetError, match="kernel of 8x8"):
            check_pair("hint", ("a", "t"), student, teacher)
