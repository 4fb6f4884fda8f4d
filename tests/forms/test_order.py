"""Row by row or column by column: the same numbers, in the order that the coder makes shorter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tersenet import artifact
from tersenet.container import decode
from tersenet.forms import Columns, Dct, Uniform
from tersenet.forms._order import ORDER_BYTES, one_step, shorter_order
from tersenet.graph import capture
from tersenet.runtime import open_bytes
from tersenet.storage import size_bytes


def _alike_in_columns(*shape):
    """Integers times 0.5 whose sizes are those of their column, drawn anew for each row."""
    torch.manual_seed(0)
    scale = torch.rand(shape[1:]).square() * 6
    return (torch.randn(shape) * scale).round() * 0.5


@pytest.mark.parametrize("shape", [(64, 96), (16, 200), (10, 576)])
def test_the_shorter_order_is_taken_from_either_side_and_nothing_is_lost(shape):
    level = Uniform.on_grid(_alike_in_columns(*shape), torch.tensor([0.5]))
    turned = Uniform.on_grid(_alike_in_columns(*shape).T.contiguous(), torch.tensor([0.5]))
    sizes = [size_bytes(one.lower("range"), "range") for one in (level, turned)]
    assert abs(sizes[0] - sizes[1]) > ORDER_BYTES
    for one in (level, turned):
        found = shorter_order(one, "range")
        assert torch.equal(found(), one())
        held = found.turned if isinstance(found, Columns) else found
        assert size_bytes(held.lower("range"), "range") == min(sizes)


def test_a_file_under_range_takes_the_shorter_order_and_answers_the_same():
    torch.manual_seed(0)
    network = capture(nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(16, 200)), torch.zeros(2, 3, 3, 3))
    step = torch.tensor([0.5])
    network.attach("0.weight", Dct(Uniform.on_grid(_alike_in_columns(16, 3, 3, 3), step), 2))
    network.attach("2.weight", Uniform.on_grid(_alike_in_columns(16, 200).T.contiguous(), step))
    data = artifact.to_bytes(network, "range")
    back = artifact.from_contents(decode(data))
    assert isinstance(back.form("2.weight"), Columns)
    assert artifact.to_bytes(back, "range") == data
    for name in ("0.weight", "2.weight"):
        assert torch.equal(back.dense(name), network.dense(name))
    x = torch.randn(5, 3, 3, 3)
    answers = network.eval()(x)
    found = torch.from_numpy(open_bytes(data)(x.numpy()))
    torch.testing.assert_close(found, answers, rtol=0, atol=1e-5 * float(answers.abs().max()))


def test_vectors_and_several_steps_keep_their_order():
    vector = Uniform.on_grid(_alike_in_columns(96), torch.tensor([0.5]))
    by_row = Uniform.on_grid(_alike_in_columns(8, 96), torch.full((8,), 0.5))
    assert shorter_order(vector, "range") is vector
    assert shorter_order(by_row, "range") is by_row


def test_one_step_is_found_in_either_order():
    form = Uniform.on_grid(_alike_in_columns(8, 12), torch.tensor([0.5]))
    turned = Columns(Uniform(form.level.movedim(0, -1).contiguous(), form.step))
    assert one_step(form) == one_step(turned) == 0.5
    assert one_step(Uniform.on_grid(_alike_in_columns(8, 12), torch.full((8,), 0.5))) is None
    assert one_step(None) is None
