"""What makes no sense as a teacher's settings is refused when they are made; old recipes stay valid."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tersenet.methods.distill import Guide, Teacher


def test_the_settings_of_earlier_recipes_mean_what_they_meant():
    settings = Teacher.model_validate({"temperature": 4, "labels": 0.1})
    assert (settings.loss, settings.label_share, settings.guided) == ("soft", 0.1, False)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"labels": 1.5},
        {"labels": -0.1},
        {"loss": "l2"},
        {"hint": {"weight": 0}},
        {"loss": "none"},
        {"hints": {}},
    ],
)
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(ValidationError):
        Teacher.model_validate(settings)


@pytest.mark.parametrize("pair", ["", "a", ":", "a:", ":b", "a:b:c"])
def test_what_is_no_pair_of_layers_is_refused(pair):
    with pytest.raises(ValidationError, match="student_layer:teacher_layer"):
        Guide(layers=(pair,))


def test_pairs_are_read_as_student_and_teacher():
    assert Guide(layers=("conv1:layer1.0", "fc:linear")).pairs == [("conv1", "layer1.0"), ("fc", "linear")]
    assert Guide().pairs == []
