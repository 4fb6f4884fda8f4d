"""Laws of preprocessing: order of the steps, Pillow's resize to the bit, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tersenet.errors import TersenetError
from tersenet.zoo import Preprocess
from tersenet.zoo._resize import resize


def test_the_default_changes_only_the_type():
    x = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2)
    y = Preprocess().apply(x)
    assert y.dtype == torch.float32 and torch.equal(y, x.float())


def test_steps_come_in_order_crop_channels_scale_mean_std():
    x = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    x[0, :, 1:3, 1:3] = torch.tensor([10, 20, 30], dtype=torch.uint8).reshape(3, 1, 1)
    y = Preprocess(crop=2, channels="BGR", scale=0.5, mean=(1.0, 2.0, 3.0), std=(2.0, 1.0, 1.0)).apply(x)
    assert y.shape == (1, 3, 2, 2)
    assert y[0, :, 0, 0].tolist() == [(15 - 1) / 2, 10 - 2, 5 - 3]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 40),
    side=st.integers(1, 40),
    seed=st.integers(0, 99),
    extreme=st.booleans(),
)
def test_resize_of_square_bytes_equals_pillows_to_the_bit(size, side, seed, extreme):
    image = np.random.RandomState(seed).randint(0, 256, (size, size, 3)).astype(np.uint8)
    if extreme:
        image = np.where(image > 127, 255, 0).astype(np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
    got = resize(torch.from_numpy(image).permute(2, 0, 1)[None], side)[0].permute(1, 2, 0).numpy()
    assert got.astype(np.uint8).tobytes() == expected.tobytes() and (got == got.round()).all()


def test_resize_of_floats_keeps_a_constant_and_does_not_round():
    assert torch.allclose(resize(torch.full((1, 1, 5, 9), 0.3), 4), torch.tensor(0.3))
    ramp = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 4, 4)
    assert not torch.equal(resize(ramp, 3), resize(ramp, 3).round())


@pytest.mark.parametrize("wrong", [{"channels": "GBR"}, {"crop": 0}, {"resize": -1}, {"std": (1.0, 0.0, 1.0)}], ids=str)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(TersenetError, match="preprocess"):
        Preprocess(**wrong)


def test_settings_that_do_not_fit_the_images_are_refused():
    with pytest.raises(TersenetError, match="2x2"):
        Preprocess(crop=3).apply(torch.zeros(1, 1, 2, 2))
    with pytest.raises(TersenetError, match="3 values of mean for images of 1 channels"):
        Preprocess(mean=(1.0, 2.0, 3.0)).apply(torch.zeros(1, 1, 2, 2))


def test_black_is_what_stored_zeros_become_whatever_the_size():
    preprocess = Preprocess(crop=5, resize=3, channels="BGR", scale=0.5, mean=(1.0, 2.0, 3.0), std=(1.0, 4.0, 0.5))
    assert torch.equal(preprocess.black(3).expand(3, 3, 3), preprocess.apply(torch.zeros(1, 3, 5, 5))[0])
    assert preprocess.black(3).flatten().tolist() == [-1, -0.5, -6]
    assert torch.equal(Preprocess().black(1), torch.zeros(1, 1, 1))
