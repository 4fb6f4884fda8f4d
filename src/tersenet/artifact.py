"""The bridge between a network that trains and a file: save and load."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tersenet.bits import MAX_ALPHABET, IntStream
from tersenet.container import Contents, Model, encode, read
from tersenet.container import write as write_file
from tersenet.errors import TersenetError
from tersenet.forms import Dense, Form, Sparse, lift
from tersenet.forms._grid import Grid
from tersenet.forms._order import shorter_order
from tersenet.forms.dense import smallest_floats
from tersenet.graph import Network
from tersenet.storage import Integers, Reshape, Storage, decode, size_bytes

# From this share of exact zeros on, a weight without a form is tried as sparse too.
MOSTLY_ZERO = 0.25


def to_model(network: Network, coder: str = "huffman", provenance: dict[str, Any] | None = None) -> Model:
    """The file's contents for a network: forms lower themselves, the rest is stored without loss."""
    tensors = {name: stored(network, name, coder) for name in network.graph.parameters}
    return Model(graph=network.graph, tensors=tensors, provenance=provenance)


def stored(network: Network, name: str, coder: str) -> Storage:
    """What a file holds for the tensor `name`: its form lowered, else the tensor without loss."""
    form = network.form(name)
    if form is None:
        return _lossless(name, network.dense(name), network.graph.parameters[name], coder)
    if not isinstance(form, Form):
        raise TersenetError(f"tensor '{name}' is held by a {type(form).__name__}, which is not a form")
    return (shorter_order(form, coder) if coder == "range" else form).lower(coder)


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
    return from_contents(read(path, max_bytes=max_bytes), dense=dense)


def from_contents(contents: Contents, *, dense: bool = False) -> Network:
    """The network of a file that has been read; it shares no memory with the contents. `dense` as in `load`."""
    model = contents.model
    tensors: dict[str, Tensor] = {}
    forms: dict[str, Form] = {}
    for name, storage in model.tensors.items():
        dtype = model.graph.parameters[name]
        # Forms compute float32: other dtypes have none.
        trains = dtype == "float32" and name not in model.graph.buffers
        form = lift(storage) if trains and not dense else None
        # Biases and the like may lie in the file as float16 or by their non-zeros, where that is smaller and loses
        # nothing; they train on as the plain numbers they were, but for those that were put on a grid.
        if len(storage.shape) < 2 and not isinstance(form, Grid):
            form = None
        if form is None or (isinstance(form, Dense) and form.dtype == "float32"):
            tensors[name] = _to_dtype(decode(storage), dtype)
        else:
            tensors[name] = form().detach()
            forms[name] = form
    network = Network(model.graph, tensors)
    for name, form in forms.items():
        network.attach(name, form)
    return network


def _to_dtype(array: np.ndarray, dtype: str) -> Tensor:
    """A decoded array as a tensor of its own, of the dtype that the graph declares."""
    return torch.from_numpy(array.astype(np.float32 if array.dtype.kind == "f" else np.int64)).to(getattr(torch, dtype))


def _lossless(name: str, tensor: Tensor, dtype: str, coder: str) -> Storage:
    """Storage of a tensor without a form, which decodes to its very bits under the `dtype` that the graph declares."""
    tensor = tensor.detach().cpu()
    shape = tuple(tensor.shape)
    if not dtype.startswith(("float", "bfloat")):
        return _shaped(_integers(name, tensor), shape)
    values = _floats(name, tensor, dtype)
    best = _shaped(smallest_floats(values, coder), shape)
    zeros = np.count_nonzero(values == 0) / max(values.size, 1)
    # A negative zero would come back positive, so such a tensor stays dense.
    exact = dtype == "float32" and np.all(np.isfinite(values)) and not np.any(np.signbit(values[values == 0]))
    if not exact or zeros < MOSTLY_ZERO:
        return best
    sparse = Sparse.fit(tensor).lower(coder)
    return min(best, sparse, key=lambda tree: size_bytes(tree, coder))


def _floats(name: str, tensor: Tensor, dtype: str) -> np.ndarray:
    """The tensor's values, flat: float16 if that is declared, else float32, in which bfloat16 is exact."""
    declared = getattr(torch, dtype)
    stored = torch.float16 if dtype == "float16" else torch.float32
    kept = tensor.to(declared).to(stored)
    same = tensor.dtype == declared and dtype != "float64"
    if not same and not torch.allclose(kept.double(), tensor.double(), rtol=0, atol=0, equal_nan=True):
        raise TersenetError(
            f"tensor '{name}' is {_plain(tensor.dtype)} and does not fit "
            f"{_plain(stored if dtype == 'float64' else declared)}, as which it would be stored; "
            "call model.float() and capture it again"
        )
    return kept.numpy().reshape(-1)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _integers(name: str, tensor: Tensor) -> Storage:
    values = tensor.to(torch.int64).numpy().reshape(-1)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0 or high >= MAX_ALPHABET:
        raise TersenetError(
            f"tensor '{name}' holds the integer {low if low < 0 else high}; 0 to {MAX_ALPHABET - 1} can be stored"
        )
    return Integers(IntStream(name=name, values=values, alphabet=high + 1))


def _shaped(flat: Storage, shape: tuple[int, ...]) -> Storage:
    return flat if flat.shape == shape else Reshape(flat, shape)


__all__ = ["from_contents", "load", "save", "stored", "to_bytes", "to_model"]
