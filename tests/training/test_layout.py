"""Pictures are laid out with the channels of a pixel side by side."""

import pytest
import torch
from torch import nn

from tersenet.training.layout import channels_last


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 5), (1, 1, 4, 5), (2, 3, 1, 1), (0, 1, 3, 3)])
def test_pictures_keep_their_values_and_a_convolution_gives_its_channels_side_by_side(shape):
    x = torch.randn(shape)
    laid = channels_last(x)
    assert torch.equal(laid, x)
    n, c, h, w = shape
    assert laid.stride() == (h * w * c, 1, w * c, c)
    if n:
        seen = nn.Conv2d(c, 6, 3, padding=1)(laid)
        assert seen.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_picture_is_the_same_tensor():
    x = torch.randn(3, 4)
    assert channels_last(x) is x
