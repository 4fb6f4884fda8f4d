"""Pictures of other sizes run where no operation names the size, and answer as the module itself does."""

import functools

import pytest
import torch
import torch.nn.functional as F
from structures import HARD, function, lively
from torch import nn

from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.ir.sizes import fixed_by

PICTURES = [name for name, (_, example) in HARD.items() if len(example) == 1 and example[0].ndim == 4]


def larger(x):
    """Four more rows and two more columns, so that height and width are told apart."""
    return torch.randn(3, x.shape[1], x.shape[2] + 4, x.shape[3] + 2, generator=torch.Generator().manual_seed(1))


@functools.cache
def pair(name):
    torch.manual_seed(0)
    made, (x,) = HARD[name]
    model = lively(made()).eval()
    return model, capture(model, x).eval(), larger(x)


@pytest.mark.parametrize("name", PICTURES)
def test_a_network_that_runs_at_another_size_answers_as_its_module(name):
    model, network, x = pair(name)
    with torch.no_grad():
        if fixed_by(network.graph):
            with pytest.raises(TersenetError, match="other heights and widths do not run: its operation"):
                network(x)
            return
        found, expected = network(x), model(x)
    for one, other in zip(
        found if isinstance(found, tuple) else (found,), expected if isinstance(expected, tuple) else (expected,)
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_law_is_asked_of_many_networks_that_run():
    free = [name for name in PICTURES if not fixed_by(pair(name)[1].graph)]
    assert len(free) >= 10, free


def conv(forward):
    return function(forward, conv=nn.Conv2d(3, 4, 3, padding=1), place=nn.ParameterList([torch.randn(4, 8, 8)]))


NAMED = {
    "a view that says the sides": lambda m, x: m.conv(x).view(-1, 2, 2, 8, 8).sum(2),
    "a crop": lambda m, x: m.conv(x)[:, :, :6],
    "a row": lambda m, x: m.conv(x)[:, :, 3],
    "a sum over places, which may be divided by their number": lambda m, x: m.conv(x).sum((2, 3)) / 64,
    "softmax over columns": lambda m, x: m.conv(x).softmax(3),
    "columns side by side": lambda m, x: torch.cat((m.conv(x), m.conv(x)), 3),
    "a mean over rows alone": lambda m, x: m.conv(x).mean(2),
    "turned": lambda m, x: m.conv(x).transpose(2, 3),
    "laid flat": lambda m, x: m.conv(x).flatten(1),
}


@pytest.mark.parametrize("forward", NAMED.values(), ids=NAMED)
def test_an_operation_that_names_the_size_is_refused_and_told(forward):
    network = capture(conv(forward), torch.zeros(2, 3, 8, 8))
    assert network(torch.zeros(5, 3, 8, 8)).shape[0] == 5
    with pytest.raises(
        TersenetError, match=r"'x' has shape \(batch, 3, 9, 8\); expected \(batch, 3, 8, 8\); other heights"
    ):
        network(torch.zeros(2, 3, 9, 8))


def test_what_only_shapes_can_tell_is_told_too():
    places = capture(conv(lambda m, x: (m.conv(x) + m.place[0]).mean((2, 3))), torch.zeros(2, 3, 8, 8))
    with pytest.raises(TersenetError, match="inputs of 3x9x8 do not run through this network"):
        places(torch.zeros(2, 3, 9, 8))
    windows = capture(conv(lambda m, x: F.max_pool2d(m.conv(x), 4).mean((2, 3))), torch.zeros(2, 3, 8, 8))
    assert windows(torch.zeros(2, 3, 4, 5)).shape == (2, 4)
    with pytest.raises(TersenetError, match="inputs of 3x3x8 do not run through this network"):
        windows(torch.zeros(2, 3, 3, 8))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 8, 8), (2, 3, 8), (2, 3, 8, 8, 1), ()])
def test_channels_and_axes_are_never_free(shape):
    network = capture(conv(lambda m, x: m.conv(x).mean((2, 3))), torch.zeros(2, 3, 8, 8))
    with pytest.raises(TersenetError, match="has shape .*; expected"):
        network(torch.zeros(shape))
    with pytest.raises(TersenetError, match="2 inputs came"):
        network(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))


def test_other_inputs_than_pictures_keep_their_shape():
    network = capture(nn.Sequential(nn.Linear(4, 3)), torch.zeros(2, 4))
    with pytest.raises(TersenetError, match=r"expected \(batch, 4\)$"):
        network(torch.zeros(2, 5))


def test_a_size_that_ran_once_is_not_worked_out_again(monkeypatch):
    network = capture(conv(lambda m, x: m.conv(x).mean((2, 3))), torch.zeros(2, 3, 8, 8))
    network(torch.zeros(1, 3, 9, 9))
    monkeypatch.setattr("tersenet.graph.sizes.value_shapes", None)
    assert network(torch.ones(4, 3, 9, 9)).shape == (4, 4)
    with pytest.raises(TypeError):  # the twin: a new size asks
        network(torch.ones(4, 3, 9, 10))
