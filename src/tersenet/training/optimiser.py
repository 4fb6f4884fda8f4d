"""The optimiser a config names, in the fastest form that PyTorch has for it."""

import torch
from torch import Tensor
from torch.optim import Optimizer

from tersenet.training.config import TrainConfig


def make_optimiser(config: TrainConfig, parameters: list[Tensor]) -> Optimizer:
    """For small networks the update costs as much as the step. At LeNet-300-100's size, on one core, fused is
    1.6x (sgd) to 9x (adam) faster than the default; rmsprop has no fused form, foreach is its best.
    """
    lr, decay = config.lr, config.weight_decay
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            parameters, lr, config.momentum, weight_decay=decay, nesterov=config.nesterov, fused=fused
        )
    if config.optimiser == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=decay, fused=fused)
    if config.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=decay, fused=fused)
    return torch.optim.RMSprop(parameters, lr, momentum=config.momentum, weight_decay=decay, foreach=True)
