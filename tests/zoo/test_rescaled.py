"""Inputs prepared for one network become those prepared for another, and what cannot is refused."""

from __future__ import annotations

import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.zoo import ENTRIES
from tersenet.zoo.preprocess import Preprocess
from tersenet.zoo.rescaled import rescaled

WAYS = [
    ENTRIES["resnet8"].preprocess,
    ENTRIES["resnet56"].preprocess,
    Preprocess(channels="BGR", mean=(104.0, 117.0, 123.0)),
    Preprocess(scale=1 / 256),
    Preprocess(scale=1 / 127.5, mean=(1.0, 1.0, 1.0)),
    Preprocess(channels="BGR", scale=2.0, std=(2.0, 3.0, 4.0)),
]
PIXELS = torch.randint(0, 256, (2, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("wanted", WAYS)
@pytest.mark.parametrize("given", WAYS)
def test_every_way_leads_to_every_other(given, wanted):
    change = rescaled(given, wanted)
    found = given.apply(PIXELS) if change is None else change(given.apply(PIXELS))
    torch.testing.assert_close(found, wanted.apply(PIXELS), rtol=1e-4, atol=1e-3)
    assert (change is None) == (given == wanted)


@pytest.mark.parametrize("other", [Preprocess(crop=4), Preprocess(resize=4)])
def test_another_size_is_refused(other):
    with pytest.raises(TersenetError, match="one input size"):
        rescaled(Preprocess(), other)
