"""A network that torch has pruned is captured as what it computes, and stays as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import parametrizations, prune

from tersenet.compression import compress
from tersenet.graph import CaptureError, capture
from tersenet.graph.masks import masks_applied
from tersenet.recipes import Recipe


class Tied(nn.Module):
    """Three layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.c.weight = self.a.weight

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))))


def _plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8))


def _unstructured(model):
    prune.l1_unstructured(model[4], "weight", 0.7)


def _several(model):
    prune.random_unstructured(model[4], "weight", 0.3)
    prune.l1_unstructured(model[4], "weight", 0.5)
    prune.ln_structured(model[4], "weight", 0.25, n=2, dim=0)


def _structured(model):
    prune.ln_structured(model[0], "weight", 0.5, n=2, dim=0)


def _with_bias(model):
    prune.random_structured(model[0], "weight", 0.5, dim=0)
    prune.l1_unstructured(model[0], "bias", 2)
    prune.l1_unstructured(model[1], "weight", 1)


def _globally(model):
    prune.global_unstructured(
        [(model[0], "weight"), (model[4], "weight")], pruning_method=prune.L1Unstructured, amount=0.8
    )


def _parametrized(model):
    sparsifier = WeightNormSparsifier(sparsity_level=0.5, sparse_block_shape=(1, 4), zeros_per_block=4)
    sparsifier.prepare(model, config=[{"tensor_fqn": "4.weight"}])
    sparsifier.step()


HELD = ("_parameters", "_buffers", "_modules", "_forward_pre_hooks")
WAYS = [_unstructured, _several, _structured, _with_bias, _globally, _parametrized]


def _bytes(model):
    return {name: tensor.detach().numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("way", WAYS)
def test_a_pruned_network_has_ordinary_names_its_zeros_and_its_answers_and_stays_as_it_was(way):
    model = _plain()
    names = [name for name in model.state_dict() if "num_batches" not in name]
    way(model)
    x = torch.randn(3, 1, 6, 6)
    model.eval()
    answers, state = model(x), _bytes(model)
    held = [dict(vars(module)) for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    network = capture(model, x)
    assert sorted(network.graph.parameters) == sorted(names)
    assert {layer.weight for layer in network.weighted_layers()} == {"0.weight", "4.weight"}
    assert torch.equal(network(x), answers)
    masked = [name for name in names if bool((network.dense(name) == 0).any())]
    assert "0.weight" in masked or "4.weight" in masked
    for name in masked:
        layer, leaf = name.split(".")
        assert torch.equal(network.dense(name), getattr(model[int(layer)], leaf))
        assert not bool((network.dense(name).signbit() & (network.dense(name) == 0)).any())
    assert _bytes(model) == state and torch.equal(model(x), answers)
    assert kinds == [type(module) for module in model.modules()]
    for module, before in zip(model.modules(), held):
        assert vars(module).keys() == before.keys()
        assert all(vars(module)[name] is before[name] for name in HELD)
    model.train()
    model(x).sum().backward()


@pytest.mark.parametrize("way", WAYS)
def test_a_pruned_network_trains_on_after_its_capture_failed(way):
    class Branching(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x) if float(x.sum()) > 0 else x

    model = _plain()
    way(model)
    state = _bytes(model)
    with pytest.raises(CaptureError):
        capture(Branching(model), torch.randn(3, 1, 6, 6))
    assert _bytes(model) == state
    model(torch.randn(3, 1, 6, 6)).sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_a_shared_weight_is_stored_once_where_it_is_masked_alike_and_apart_where_it_is_not():
    torch.manual_seed(0)
    model, x = Tied(), torch.randn(3, 6)
    prune.l1_unstructured(model.a, "weight", 0.5)
    prune.custom_from_mask(model.b, "weight", model.a.weight_mask)
    answers = model(x)
    network = capture(model, x)
    assert torch.allclose(network(x), answers)
    assert [layer.weight for layer in network.weighted_layers()] == ["a.weight", "a.weight", "c.weight"]
    assert bool(network.dense("c.weight").all()), "the third layer is not pruned"


def test_other_parametrizations_are_left_to_the_tracing():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)))
    with masks_applied(model):
        assert "0.parametrizations.weight.original0" in model.state_dict()


def test_what_torch_pruned_is_compressed_with_its_zeros():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 30))
    prune.l1_unstructured(model[0], "weight", 0.9)
    recipe = Recipe.model_validate({"name": "zeros", "steps": [{"id": "prune", "threshold": 0}]})
    result = compress(model, recipe=recipe, example=torch.zeros(2, 40))
    assert torch.equal(result.network.dense("0.weight"), model[0].weight)
    dense = compress(nn.Sequential(nn.Linear(40, 30)), recipe=recipe, example=torch.zeros(2, 40))
    assert result.file_bytes < dense.file_bytes / 3
