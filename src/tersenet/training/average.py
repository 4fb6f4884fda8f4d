"""Averaged weights beside those that train: of all steps (ema), or of the ends of late epochs (swa).

READ FIRST
  1. The average is a network of its own. Training never reads it; what is validated, kept and given back at the end is it.
  2. Its parameters are averages. Its buffers are copies, but for BatchNorm's statistics, which belong to the weights
     they were measured with: they are estimated anew from training inputs.
  3. Parameters and the number of states in them decide how it goes on; both are in the checkpoint.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from tersenet.calibration import recalibrate_batchnorm
from tersenet.graph import Network
from tersenet.training.accompanied import network_of
from tersenet.training.config import TrainConfig
from tersenet.training.layout import channels_last
from tersenet.training.state import model_tensors

STATISTICS_EXAMPLES = 2048
"""Training inputs that BatchNorm's statistics are estimated from; more than the 1,000 or so after which they stand
still (Li et al. 2020, EagleEye, arXiv:2007.02491, section 3.3)."""


class Average:
    """What the weights of `source` come to when they are averaged.

    model   the averaged network; the source's own state until there is something to average
    count   states of the source in it
    """

    def __init__(self, source: nn.Module, config: TrainConfig) -> None:
        self.source = source
        self.config = config
        self.model = copy.deepcopy(source)
        self.count = 0
        self._pairs = [
            (mine, theirs)
            for mine, theirs in zip(self.model.parameters(), source.parameters(), strict=True)
            if theirs.is_floating_point()
        ]

    def after_step(self) -> None:
        """ema: a little of the newest weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017, arXiv:1703.01780).

        The average of few steps keeps less of its beginning: after n steps at most (1 + n) / (10 + n), as TensorFlow does.
        """
        if self.config.average == "ema":
            self._add(1 - min(self.config.average_decay, (1 + self.count) / (10 + self.count)))

    def after_epoch(self, epoch: int) -> None:
        """swa: the even mean of the ends of epochs, once a share `average_from` of the training is over
        (Izmailov et al. 2018, arXiv:1803.05407). `epoch` counts from 1; asked for again, it adds nothing.
        """
        if self.config.average == "swa":
            late = sum(one / self.config.epochs > self.config.average_from for one in range(1, epoch + 1))
            if self.count < late:
                self._add(1 / (1 + self.count))

    @torch.no_grad()
    def settle(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Ready to be scored: buffers copied, BatchNorm's statistics estimated anew from training batches."""
        if self.count == 0:
            for mine, theirs in self._pairs:
                mine.copy_(theirs)
        for copied, buffer in zip(self.model.buffers(), self.source.buffers(), strict=True):
            copied.copy_(buffer)
        if self.count == 0:
            return
        network = network_of(self.model)
        if isinstance(network, Network):
            recalibrate_batchnorm(network, batches)
        elif any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.model.modules()):
            device = next(self.model.parameters()).device
            update_bn((channels_last(x.to(device)) for x, _ in batches), self.model)

    def tensors(self) -> dict[str, Tensor]:
        """Its state by name."""
        return model_tensors(self.model)

    @torch.no_grad()
    def _add(self, share: float) -> None:
        mine = [pair[0].detach() for pair in self._pairs]
        theirs: list[Any] = [pair[1].detach() for pair in self._pairs]
        torch._foreach_lerp_(mine, theirs, 1.0 if self.count == 0 else share)
        self.count += 1
