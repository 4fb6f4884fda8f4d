"""The bridge between a network that trains and a file: save and load."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tersenet.bits import IntStream
from tersenet.container import Contents, Model, encode, read, read_dense
from tersenet.container import write as write_file
from tersenet.errors import TersenetError
from tersenet.forms import Dense, Form, Sparse, lift
from tersenet.forms.dense import smallest_floats
from tersenet.graph import Network
from tersenet.storage import Integers, Reshape, Storage, decode, size_bytes

# From this share of exact zeros on, a weight without a form is tried as sparse too.
MOSTLY_ZERO = 0.25


def to_model(network: Network, coder: str = "huffman", provenance: dict[str, Any] | None = None) -> Model:
    """The file's contents for a network: forms lower themselves, the rest is stored without loss."""
    tensors = {}
    for name, dtype in network.graph.parameters.items():
        form = network.form(name)
        if form is not None:
            if not isinstance(form, Form):
                raise TersenetError(f"tensor '{name}' is held by a {type(form).__name__}, which is not a form")
            tensors[name] = form.lower(coder)
        else:
            tensors[name] = _lossless(name, network.dense(name), dtype, coder)
    return Model(graph=network.graph, tensors=tensors, provenance=provenance)


def to_bytes(network: Network, coder: str = "huffman", provenance: dict[str, Any] | None = None) -> bytes:
    """The bytes that `save` would write."""
    return encode(to_model(network, coder, provenance), coder)


def save(
    network: Network,
    path: str | os.PathLike[str],
    *,
    coder: str = "huffman",
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write a network to a `.terse` file: whole, or not at all."""
    write_file(path, to_model(network, coder, provenance), coder)


def load(path: str | os.PathLike[str], *, max_bytes: int | None = None, dense: bool = False) -> Network:
    """The network in a `.terse` file, as an nn.Module that runs and trains on; its class is not needed.

    max_bytes   refuse a file that decodes to more (default: the smaller of 16 GiB and 1000 times its length)
    dense       ordinary dense parameters instead of the forms the weights are stored in
    """
    if dense:
        contents = read(path, max_bytes=max_bytes)
        arrays = read_dense(path, max_bytes=max_bytes)
        return Network(contents.model.graph, {name: torch.from_numpy(array) for name, array in arrays.items()})
    return from_contents(read(path, max_bytes=max_bytes))


def from_contents(contents: Contents) -> Network:
    """The network of a file that has been read."""
    model = contents.model
    tensors: dict[str, Tensor] = {}
    forms: dict[str, Form] = {}
    for name, storage in model.tensors.items():
        # Biases and the like may lie in the file as float16 or by their non-zeros, where that is smaller and loses
        # nothing; they train on as the plain numbers they were.
        weight = len(storage.shape) > 1 and storage.kind == "float" and name not in model.graph.buffers
        form = lift(storage) if weight else None
        if form is None or (isinstance(form, Dense) and form.dtype == "float32"):
            tensors[name] = _to_dtype(decode(storage), model.graph.parameters[name])
        else:
            tensors[name] = form().detach()
            forms[name] = form
    network = Network(model.graph, tensors)
    for name, form in forms.items():
        network.attach(name, form)
    return network


def _to_dtype(array: np.ndarray, dtype: str) -> Tensor:
    """A decoded array as a tensor of the dtype that the graph declares."""
    signed = array if array.dtype.kind == "f" else array.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(signed)).to(getattr(torch, dtype))


def _lossless(name: str, tensor: Tensor, dtype: str, coder: str) -> Storage:
    tensor = tensor.detach().cpu()
    shape = tuple(tensor.shape)
    if not dtype.startswith(("float", "bfloat")):
        return _shaped(_integers(name, tensor), shape)
    if dtype == "float16":
        values = tensor.numpy().reshape(-1)
    else:
        values = tensor.float().numpy().reshape(-1)
        if dtype == "float64" and not torch.equal(tensor, torch.from_numpy(values).double().reshape(shape)):
            raise TersenetError(f"tensor '{name}' is float64 and does not fit float32; call model.float() first")
    best = _shaped(smallest_floats(values, coder), shape)
    zeros = 1 - np.count_nonzero(values) / max(values.size, 1)
    # A negative zero would come back positive, so such a tensor stays dense.
    exact = dtype == "float32" and np.all(np.isfinite(values)) and not np.any(np.signbit(values[values == 0]))
    if not exact or zeros < MOSTLY_ZERO:
        return best
    sparse = Sparse.fit(tensor).lower(coder)
    return min(best, sparse, key=lambda tree: size_bytes(tree, coder))


def _integers(name: str, tensor: Tensor) -> Storage:
    values = tensor.to(torch.int64).numpy().reshape(-1)
    if values.size and values.min() < 0:
        raise TersenetError(
            f"tensor '{name}' holds the negative integer {values.min()}; only 0 and above can be stored"
        )
    top = int(values.max()) if values.size else 0
    return Integers(IntStream(name=name, values=values, alphabet=max(top + 1, 2)))


def _shaped(flat: Storage, shape: tuple[int, ...]) -> Storage:
    return flat if flat.shape == shape else Reshape(flat, shape)


__all__ = ["from_contents", "load", "save", "to_bytes", "to_model"]
