"""Answers are asked for once, go on where they were stopped, and are never another teacher's or another data set's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from tersenet.errors import TersenetError
from tersenet.methods.distill import as_teacher, store_answers


def test_each_example_is_asked_for_once(tmp_path, points, linear):
    data, teacher = points(), linear(0)
    with torch.no_grad():
        expected = teacher(data.x).numpy()
    answers = store_answers(teacher, data, tmp_path, batch_size=5)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)
    assert isinstance(answers, np.memmap)
    asked = []
    again = store_answers(teacher, data, tmp_path, batch_size=5, on_batch=lambda done, of: asked.append(done))
    assert again.tobytes() == answers.tobytes() and asked == []
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_asking_goes_on_and_ends_in_the_same_bytes(tmp_path, points, linear):
    data, teacher = points(), linear(0)
    whole = store_answers(teacher, data, tmp_path / "whole", batch_size=5)

    def stop(done, of):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_answers(teacher, data, tmp_path / "cut", batch_size=5, on_batch=stop)
    seen = []
    again = store_answers(teacher, data, tmp_path / "cut", batch_size=5, on_batch=lambda done, of: seen.append(done))
    assert seen == [4, 5, 6, 7] and again.tobytes() == whole.tobytes()


def test_rows_that_are_not_noted_as_done_are_written_again(tmp_path, points, linear):
    data, teacher = points(), linear(0)
    whole = store_answers(teacher, data, tmp_path).tobytes()
    note, rows = next(tmp_path.glob("*.json")), next(tmp_path.glob("*.npy"))
    note.write_text(json.dumps({"rows": 7, "examples": 32}))
    np.load(rows, mmap_mode="r+")[7:] = np.nan
    assert store_answers(teacher, data, tmp_path).tobytes() == whole
    note.unlink()
    assert store_answers(teacher, data, tmp_path).tobytes() == whole


def test_other_teachers_data_and_types_are_kept_apart(tmp_path, points, linear):
    asked = [
        (linear(0), points(), {}),
        (linear(1), points(), {}),
        (linear(0), points(seed=1), {}),
        (linear(0), points(n=31), {}),
        (linear(0), points(), {"dtype": "float16"}),
        (linear(0), points(), {"precision": "bfloat16"}),
    ]
    for teacher, data, settings in asked:
        answers = store_answers(teacher, data, tmp_path, **settings)
        with torch.no_grad():
            np.testing.assert_allclose(answers, teacher(data.x).numpy(), atol=0.05)
    assert len(list(tmp_path.glob("*.npy"))) == len(asked)


def test_labels_are_not_looked_at(tmp_path, points, linear):
    data, other = points(), points()
    other.y = torch.full_like(other.y, -1)
    store_answers(linear(0), data, tmp_path)
    store_answers(linear(0), other, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_the_teacher_answers_in_eval_mode(tmp_path, points, linear):
    teacher = nn.Sequential(linear(0), nn.Dropout(0.9)).train()
    with torch.no_grad():
        expected = linear(0)(points().x).numpy()
    np.testing.assert_allclose(store_answers(teacher, points(), tmp_path), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "dtype", "why"),
    [
        (lambda x: x * float("nan"), "float32", "example 0 is not finite as float32"),
        (lambda x: torch.where(x == x, 1e6, x), "float16", "keep answers as float32"),
    ],
)
def test_answers_that_are_no_numbers_are_refused(tmp_path, points, function, dtype, why):
    with pytest.raises(TersenetError, match=why):
        store_answers(as_teacher(function), points(), tmp_path, dtype=dtype)


def test_damage_and_emptiness_are_refused(tmp_path, points, linear):
    with pytest.raises(TersenetError, match="empty"):
        store_answers(linear(0), points(n=0), tmp_path)
    store_answers(linear(0), points(), tmp_path)
    next(tmp_path.glob("*.json")).write_text("{")
    with pytest.raises(TersenetError, match="delete it"):
        store_answers(linear(0), points(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TersenetError, match="choose another folder"):
        store_answers(linear(0), points(), tmp_path / "file")
