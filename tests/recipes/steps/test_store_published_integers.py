"""Published integer weights of MobileNets come through `uniform` to the last bit, in their own size."""

from __future__ import annotations

import pytest
import torch

from tersenet import artifact
from tersenet.container import decode
from tersenet.graph import capture
from tersenet.recipes import Recipe
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.weights import load_weights

PUBLISHED = {
    "mobilenet_v1_025_128": ("mobilenet_v1_0.25_128_uint8", {"per": "tensor", "symmetric": False}),
    "mobilenet_v2": ("mobilenet_v2_1.0_224_int8", {"per": "row"}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_file_is_exact_and_takes_the_bytes_of_the_published_integers_raw_and_fewer_when_coded(
    name, data_dir, tmp_path
):
    file, options = PUBLISHED[name]
    entry = ENTRIES[name]
    path = data_dir / "models" / "mobilenet-imagenet" / f"{file}.safetensors"
    net = capture(load_weights(network(name), path).eval(), torch.zeros(1, *entry.input_shape))
    step = {"id": "store", "form": "uniform", "range": "exact", **options}
    sizes = {}
    for coder in ("raw", "rans"):
        recipe = Recipe.model_validate({"name": "exact", "steps": [step], "coder": coder})
        network_in_form, _ = recipe.steps[0].change(net.clone(), None)
        data = artifact.to_bytes(network_in_form, coder)
        sizes[coder] = len(data)
        again = artifact.from_contents(decode(data))
        for weight, tensor in net.tensors().items():
            assert again.dense(weight).numpy().tobytes() == tensor.numpy().tobytes(), weight
    layers = net.weighted_layers()
    weights = sum(net.dense(layer.weight).numel() for layer in layers)
    biases = sum(net.dense(layer.bias).numel() for layer in layers)
    steps = sum(len(network_in_form.form(layer.weight).step) for layer in layers)
    assert sizes["raw"] <= 1.01 * (weights + 4 * biases + 4 * steps)
    assert sizes["rans"] < sizes["raw"]
