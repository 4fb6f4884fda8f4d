"""How long networks take to answer: in PyTorch, on one thread of the CPU, in turns."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.measure.latency import Latency, compare_latency

LIMIT_S = 0.3


def compare_networks(
    networks: Mapping[str, nn.Module], inputs: tuple[Tensor, ...], *, limit_s: float = LIMIT_S
) -> dict[str, Latency]:
    """Time each network's answer to `inputs`; all are left in eval mode.

    A weight that a form holds is made dense once, before: what is timed is a network in use, not its loading.
    """
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(1)
        stack.enter_context(torch.no_grad())
        for network in networks.values():
            network.eval()
            stack.enter_context(getattr(network, "frozen_weights", nullcontext)())
        calls = {name: _call(network, inputs) for name, network in networks.items()}
        return compare_latency(calls, warmup=1, limit_s=limit_s)


def _call(network: nn.Module, inputs: tuple[Tensor, ...]) -> Callable[[], Any]:
    return lambda: network(*inputs)
