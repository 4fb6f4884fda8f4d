"""How long networks take to answer: in turns, on one thread of the CPU."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.measure._follow import evaluating
from tersenet.measure.latency import Latency, compare_latency

LIMIT_S = 0.3


def compare_networks(
    networks: Mapping[str, tuple[nn.Module, tuple[Tensor, ...]]],
    others: Mapping[str, Callable[[], Any]] | None = None,
    *,
    limit_s: float = LIMIT_S,
) -> dict[str, Latency]:
    """Time each network's answer to its inputs in PyTorch, in turns with `others`, which are called as they are.

    A weight that a form holds is made dense once, before: what is timed is a network in use, not its loading.
    """
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(1)
        stack.enter_context(evaluating(*(network for network, _ in networks.values())))
        for network, _ in networks.values():
            stack.enter_context(getattr(network, "frozen_weights", nullcontext)())
        calls = {name: _call(network, inputs) for name, (network, inputs) in networks.items()}
        return compare_latency(calls | dict(others or {}), warmup=1, limit_s=limit_s)


def _call(network: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], Any]:
    return lambda: network(*inputs)
