"""Whatever is factorised answers as the network whose weights are the products, and its factors take every form."""

from __future__ import annotations

import functools

import pytest
import torch
from structures import HARD, ZOO, all_of, build, distance
from torch import Tensor, nn

from tersenet import artifact, ir, runtime
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.forms import FORMS, Codebook, Sparse
from tersenet.forms.base import form_class
from tersenet.graph import Network, capture, replace_layers
from tersenet.graph.chains import CHAINABLE
from tersenet.methods._factorable import factorable
from tersenet.methods.low_rank import as_chain, spectra
from tersenet.methods.select import replace_form
from tersenet.methods.tucker2 import tucker2

SMALL = ("lenet5", "resnet20")
NAMES = [*HARD, *(name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in ZOO)]
# The share of the full rank, or of both channels.
SHARES = (1.0, 0.4)


def svd(network: Network, share: float) -> tuple[Network, dict[str, Tensor]]:
    """Every layer that can be, in two, and the products."""
    layers, _ = factorable(network, "*", "low_rank")
    chains, products = {}, {}
    for one in spectra(network, layers):
        rank = max(1, int(share * one.full))
        a, b = one.factors(rank)
        chains[one.layer.weight] = as_chain(network, one, rank)
        products[one.layer.weight] = torch.from_numpy(a @ b).reshape(network.dense(one.layer.weight).shape).float()
    return replace_layers(network, chains), products


def tucker(network: Network, share: float) -> tuple[Network, dict[str, Tensor]]:
    """Every kernel of more than one place as its Tucker decomposition, and the products."""
    layers, _ = factorable(network, "*", "tucker2", spatial=True)
    chains, products = {}, {}
    for layer in layers:
        weight = network.dense(layer.weight)
        ranks = tuple(max(1, int(share * size)) for size in (weight.shape[1], weight.shape[0]))
        found = tucker2(weight, ranks)
        chains[layer.weight] = found.chain(weight.ndim - 2)
        products[layer.weight] = found.product().float()
    return replace_layers(network, chains), products


METHODS = {"low_rank": svd, "tucker2": tucker}


@functools.cache
def constant(name: str) -> bool:
    """Whether the network has nothing for a method to do."""
    network, _ = build(name)
    return not any(layer.op in CHAINABLE for layer in network.weighted_layers())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_it_answers_as_the_network_of_the_products(name, method):
    network, example = build(name)
    for share in SHARES:
        try:
            factorised, products = METHODS[method](network, share)
        except TersenetError as refused:
            assert "names no layer that can be factorised" in str(refused)
            assert method == "tucker2" or constant(name)
            return
        assert ir.read(ir.write(factorised.graph)) == factorised.graph
        expected = network.clone()
        for weight, product in products.items():
            expected.set_tensor(weight, product)
        with torch.no_grad():
            assert distance(all_of(factorised(*example)), all_of(expected(*example))) < 1e-4
            if share == 1:
                assert distance(all_of(factorised(*example)), all_of(network(*example))) < 1e-5


def picture_network() -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 16, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 40), nn.ReLU(), nn.Linear(40, 5),
    )  # fmt: skip
    x = torch.randn(3, 3, 8, 8)
    return capture(model, x).eval(), x


def sparse_codebook(weight: Tensor) -> Sparse:
    return Sparse.fit(
        torch.where(weight.abs() > weight.abs().median(), weight, 0), values=lambda kept: Codebook.fit(kept, k=4)
    )


OPTIONS = {name: {"k": 4} for name in ("codebook", "product", "residual")}
FITS = {name: functools.partial(form_class(name).fit, **OPTIONS.get(name, {})) for name in FORMS}
FITS["sparse of codebook"] = sparse_codebook


@pytest.mark.parametrize("form", FITS)
@pytest.mark.parametrize("method", METHODS)
def test_factors_take_every_form_train_and_run_from_a_file(method, form):
    network, x = picture_network()
    factorised, products = METHODS[method](network, 0.5)
    factors = [
        name for name in factorised.graph.parameters if name.endswith("weight") and name not in network.graph.parameters
    ]
    assert len(factors) >= 2 * len(products) >= 4
    for name in factors:
        replace_form(factorised, name, FITS[form](factorised.dense(name)))
    factorised.train()(x).square().sum().backward()
    learning = [one for name in factors for one in factorised.form(name).parameters() if one.requires_grad]
    assert all(one.grad is not None for one in learning)
    data = artifact.to_bytes(factorised.eval())
    back = artifact.from_contents(decode(data)).eval()
    with torch.no_grad():
        answer = factorised(x)
        torch.testing.assert_close(back(x), answer)
        torch.testing.assert_close(
            torch.from_numpy(runtime.open_bytes(data, threads=1)(x.numpy())), answer, rtol=1e-3, atol=1e-4
        )


def test_the_law_is_asked_of_networks_that_really_are_factorised():
    counts = dict.fromkeys(METHODS, 0)
    for name in HARD:
        for method, factorise in METHODS.items():
            try:
                counts[method] += bool(factorise(build(name)[0], 0.5)[1])
            except TersenetError:
                continue
    assert counts["low_rank"] > 0.9 * len(HARD) and counts["tucker2"] > 8, counts


def test_factors_are_factorised_again():
    network, x = picture_network()
    once, _ = svd(network, 1.0)
    twice, _ = tucker(once, 1.0)
    with torch.no_grad():
        assert distance((twice(x),), (network(x),)) < 1e-5
    assert "3.0.0.weight" in twice.graph.parameters or "3.0.weight" in twice.graph.parameters
