"""Everything that decides how a run goes on, as named tensors and numbers, and back."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those included that a state dict leaves out; a shared tensor comes once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def fill_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put values back into the same tensors, to which optimisers and other owners hold on."""
    with torch.no_grad():
        for name, tensor in model_tensors(model).items():
            tensor.copy_(tensors[name])


def optimiser_state(optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Its tensors and its other values, each under "parameter number.name"."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            (tensors if isinstance(value, Tensor) else values)[f"{number}.{name}"] = value
    return tensors, values


def fill_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """The inverse of `optimiser_state`; rates and other settings stay those it was made with."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**values, **tensors}.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """Of PyTorch's global generators, from which dropout draws."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def fill_generators(device: torch.device, states: Mapping[str, Tensor]) -> Callable[[], None]:
    """What puts PyTorch's global generators back, when it is called."""

    def fill() -> None:
        torch.set_rng_state(states["cpu"])
        if device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], device)

    return fill


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """Training seeds the global generators; its caller finds them as they were, resumed or not."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002
