"""The published Deep Compression models (Han et al. 2016, arXiv:1510.00149) as networks of ours, to the last bit."""

from __future__ import annotations

import os

import numpy as np
import torch

from tersenet import zoo
from tersenet.container import read_file
from tersenet.errors import TersenetError
from tersenet.forms import Codebook, Dense, Sparse
from tersenet.graph import Network, capture
from tersenet.importers._net_file import LayerShape, NetLayer, read_net
from tersenet.zoo.file_preprocess import to_file


def import_net(path: str | os.PathLike[str], net: str) -> Network:
    """The network `net` of the zoo with the weights of a published `.net` file, each as sparse codebook.

    The shared values are the file's own, exactly; those that no weight takes are dropped.
    """
    entry = zoo.entry(net)
    data = read_file(path)
    network = capture(zoo.network(net).eval(), zoo.example_inputs(net), preprocess=to_file(entry.preprocess))
    layers = network.weighted_layers()
    unbiased = [layer.name for layer in layers if layer.bias is None]
    if unbiased:
        raise TersenetError(f"{net}: {unbiased[0]} has no bias; each layer of a .net file has one")
    shapes = [
        LayerShape(
            name=layer.name,
            op=layer.op,
            weight_shape=tuple(network.dense(layer.weight).shape),
            bias_size=network.dense(layer.bias).numel(),
        )
        for layer in layers
        if layer.bias is not None
    ]
    for layer, shape, found in zip(layers, shapes, read_net(data, shapes, os.fspath(path))):
        network.attach(layer.weight, _sparse(found, shape.weight_shape))
        if layer.bias is not None:
            network.set_tensor(layer.bias, torch.from_numpy(found.bias))
    return network


def _sparse(layer: NetLayer, shape: tuple[int, ...]) -> Sparse:
    """Fillers, and entries whose shared value is zero, are places without a weight."""
    weights = layer.values[layer.codes]
    kept = np.flatnonzero(weights)
    position = torch.from_numpy(layer.position[kept])
    if not len(kept):
        return Sparse(Dense(torch.zeros(0)), position, shape)
    # Ascending, each value once: two codes of one value are one.
    values, index = np.unique(weights[kept], return_inverse=True)
    codebook = Codebook(torch.from_numpy(values), torch.from_numpy(index.reshape(-1).astype(np.int64)))
    return Sparse(codebook, position, shape)


__all__ = ["import_net"]
