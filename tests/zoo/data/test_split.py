"""Laws of splits: lazily float, deterministic, never an example outside its part, wrong data refused."""

import numpy as np
import pytest
import torch

from tersenet.zoo import Data, Preprocess, Split
from tersenet.zoo.data import DataError, DataMissing
from tersenet.zoo.data.split import IGNORED, held_out


def images(n: int = 6) -> np.ndarray:
    return np.arange(n * 3 * 4, dtype=np.uint8).reshape(n, 3, 2, 2)


def test_a_batch_is_preprocessed_float_and_storage_stays_bytes():
    split = Split(images(), np.arange(6) % 2, 2, Preprocess(scale=0.5))
    x, y = split.batch([4, 1, 4])
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    assert torch.equal(x, torch.from_numpy(images()[[4, 1, 4]]).float() * 0.5) and y.tolist() == [0, 1, 0]
    assert split.x.dtype == np.uint8 and len(split) == 6


@pytest.mark.parametrize("indices", [range(2, 5), np.array([2, 3, 4]), torch.tensor([2, 3, 4]), slice(2, 5), [2, 3, 4]])
def test_rows_may_be_named_in_any_form_and_come_out_the_same_each_time(indices):
    split = Split(images(), np.arange(6) % 2, 2)
    for _ in range(2):
        assert torch.equal(split.batch(indices)[0], torch.from_numpy(images()[2:5]).float())


def test_a_batch_is_a_copy():
    split = Split(images().astype(np.float32), np.arange(6) % 2, 2)
    split.batch(slice(0, 6))[0].zero_()
    assert split.x.any()


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7])
def test_batches_in_order_hold_every_example_once(size):
    split = Split(images(), np.arange(6) % 2, 2)
    assert torch.equal(torch.cat([x for x, _ in split.batches(size)]), split.batch(range(6))[0])


def test_take_keeps_the_rows_asked_for():
    part = Split(images(), np.arange(6) % 2, 2, Preprocess(scale=2.0)).take([5, 0])
    assert len(part) == 2 and part.x[0, 0, 0, 0] == 60 and part.y.tolist() == [1, 0] and part.preprocess.scale == 2


def test_tokens_stay_whole_and_ignored_targets_are_allowed_among_them_only():
    split = Split(np.zeros((2, 3), np.int64), np.array([[0, 1, IGNORED]] * 2), 2)
    assert split.batch([0])[0].dtype == torch.int64
    with pytest.raises(DataError, match="-100"):
        Split(images(2), np.array([0, IGNORED]), 2)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (images(3), np.arange(2), "3 examples but 2 labels"),
        (images(0), np.arange(0), "empty"),
        (images(2), np.array([0, 2]), "a label is 2"),
        (images(2), np.array([-1, 0]), "a label is -1"),
        (images(2).astype(np.float64), np.arange(2), "float64"),
        (images(2), np.zeros(2), "labels of float64"),
        (np.full((2, 1, 1, 1), np.nan, np.float32), np.arange(2), "NaN"),
        (np.full((2, 1, 1, 1), -np.inf, np.float32), np.arange(2), "infinite"),
    ],
)
def test_wrong_data_is_refused_with_the_reason(x, y, reason):
    with pytest.raises(DataError, match=reason):
        Split(x, y, 2)


def test_an_absent_part_says_why():
    data = Data("d", {"test": Split(images(), np.arange(6) % 2, 2)}, 2, absent={"train": "no train file"})
    assert data.input_shape == (3, 2, 2)
    with pytest.raises(DataMissing, match="d has no train part here: no train file"):
        _ = data.train
    with pytest.raises(DataMissing, match="no such part"):
        _ = data.validate
    with pytest.raises(DataMissing, match="none of the parts"):
        Data("d", {}, 2)


@pytest.mark.parametrize(("count", "validate"), [(2, 1), (100, 1), (100, 99), (60_000, 5_000)])
def test_what_is_held_out_and_the_rest_are_the_whole_in_rising_order(count, validate):
    rest, held = held_out(count, validate)
    assert len(held) == validate and sorted([*rest, *held]) == list(range(count))
    assert (np.diff(rest) > 0).all() and (np.diff(held) > 0).all()


def test_the_same_rows_are_held_out_for_ever():
    assert held_out(20, 5)[1].tolist() == [0, 3, 11, 12, 15]
    for wrong in (0, 20, 21, -1):
        with pytest.raises(DataError, match="held out"):
            held_out(20, wrong)


def test_black_is_that_of_the_batches_and_tokens_have_none():
    split = Split(np.zeros((2, 3, 2, 2), np.uint8), np.arange(2), 2, Preprocess(mean=(1.0, 2.0, 3.0)))
    assert torch.equal(split.batch([0])[0][0], split.black.expand(3, 2, 2))
    assert Split(np.zeros((2, 3), np.int64), np.zeros((2, 3), np.int64), 2).black is None
