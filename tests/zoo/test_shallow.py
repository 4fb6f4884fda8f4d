"""Shallow students meet their budget from below, by at most a hundredth, or say what would fit."""

import pytest
import torch
from torch import nn

from tersenet import zoo
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.zoo.shallow import Shallow

NAMES = ("shallow_mnist", "shallow_conv_mnist", "shallow_cifar10", "shallow_conv_cifar10")


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("convs", [0, 1, 2, 3])
@pytest.mark.parametrize("bottleneck", [0, 1, 16])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 9, 20)])
def test_a_network_has_at_most_its_budget_and_at_most_a_hundredth_less(convs, bottleneck, shape):
    for budget in (300_000, 412_345, 1_000_000):
        model = Shallow(budget, shape, 7, convs=convs, filters=8, bottleneck=bottleneck)
        assert 0.99 * budget <= count(model) <= budget
        assert count(Shallow(count(model), shape, 7, convs=convs, filters=8, bottleneck=bottleneck)) == count(model)
    with torch.no_grad():
        assert model(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("name", NAMES)
def test_the_zoo_builds_them_by_name_and_option(name):
    default = zoo.network(name)
    assert count(zoo.network(name, parameters=count(default))) == count(default)
    network = capture(default.eval(), zoo.example_inputs(name))
    assert [layer.name for layer in network.weighted_layers()][-2:] == ["hidden", "output"]
    assert ("bottleneck" in default._modules) == (name != "shallow_mnist")


def test_between_bottleneck_and_hidden_layer_nothing_bends():
    model = Shallow(20_000, (1, 5, 6), bottleneck=4).eval()
    x = torch.randn(3, 1, 5, 6)
    with torch.no_grad():
        joined = x.flatten(1) @ (model.hidden.weight @ model.bottleneck.weight).T + model.hidden.bias
        torch.testing.assert_close(model(x), model.output(torch.relu(joined)), rtol=1e-4, atol=1e-5)
    assert model.bottleneck.bias is None


def test_a_budget_of_one_unit_fits_and_one_parameter_less_does_not():
    one = 784 + 1 + 10 + 10
    assert count(Shallow(one, (1, 28, 28))) == one
    with pytest.raises(TersenetError, match="give 805 or more"):
        Shallow(one - 1, (1, 28, 28))
    with pytest.raises(TersenetError, match="a budget of -5 parameters"):
        Shallow(-5, (1, 28, 28))


def test_a_budget_between_two_widths_names_both():
    with pytest.raises(TersenetError, match="give 7,960 or 8,755, or a bottleneck"):
        Shallow(8_500, (1, 28, 28))


def test_what_is_no_shallow_network_is_refused():
    with pytest.raises(TersenetError, match="4 convolutions; it has 0 to 3"):
        Shallow(50_000, (1, 28, 28), convs=4)
    for shape in ((784,), (1, 7, 28), (1, 28, 7)):
        with pytest.raises(TersenetError, match="sides of 8 or more"):
            Shallow(50_000, shape, convs=3)
    with pytest.raises(TersenetError, match="-1"):
        Shallow(50_000, (1, 28, 28), convs=-1)
    with pytest.raises(TersenetError, match="bottleneck of -2"):
        Shallow(50_000, (1, 28, 28), bottleneck=-2)
    with pytest.raises(TersenetError, match="0 filters"):
        Shallow(50_000, (1, 28, 28), convs=1, filters=0)
