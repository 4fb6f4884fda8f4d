"""Back to earlier weights, with what was pruned since staying so.

Frankle and Carbin 2019, arXiv:1803.03635 (to the start); Frankle et al. 2020, arXiv:1912.05671, and Renda et al. 2020,
arXiv:2003.02389 (to a network that has trained a little).
"""

from __future__ import annotations

import torch

from tersenet.errors import TersenetError
from tersenet.forms import Dense, Sparse
from tersenet.graph import Network
from tersenet.methods.prune import attach_pruned


def rewind(network: Network, earlier: Network) -> None:
    """Every tensor of `network`, biases and statistics too, takes the values that it has in `earlier`.

    The zeros of pruned weights stay. Refused: networks whose tensors differ in name or shape, and weights in a form
    that cannot take values as they are, such as a codebook.
    """
    now, then = ({name: one.shape for name, one in each.tensors().items()} for each in (network, earlier))
    differ = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
    if differ:
        name = differ[0]
        raise TersenetError(
            f"tensor '{name}' is {_shape(now.get(name))} here and {_shape(then.get(name))} in the network to rewind to; "
            "rewind to a step after the one that changed it"
        )
    for name, form in network.forms().items():
        if not (isinstance(form, Sparse) and isinstance(form.values, Dense)):
            raise TersenetError(
                f"weight '{name}' is stored as {type(form).__name__}, which cannot go back; rewind before it is stored"
            )
    for name, value in earlier.tensors().items():
        held = network.form(name)
        if held is None:
            network.set_tensor(name, value.clone())
        else:
            assert isinstance(held, Sparse)
            stays = torch.zeros(value.numel(), dtype=torch.bool, device=value.device)
            stays[held.position] = True
            attach_pruned(network, name, torch.where(stays.reshape(value.shape), value, 0.0))


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else "x".join(map(str, shape)) or "one number"
