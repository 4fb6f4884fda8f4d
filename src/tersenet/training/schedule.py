"""The learning rate as a function of time and of the epochs that are over, so that a resumed run has no schedule to
restore.
"""

from collections.abc import Sequence
from math import cos, floor, inf, pi

from tersenet.training.config import TrainConfig

START = 1 / 25
"""What one_cycle begins with, of its highest rate: as in fast.ai and PyTorch."""
GAIN = 1e-4
"""The share by which a validation loss must fall below the lowest to count as a gain: PyTorch's."""


def learning_rate(
    config: TrainConfig,
    time_epochs: float,
    step_epochs: float = 0.0,
    validation_losses: Sequence[float | None] = (),
) -> float:
    """The rate of the step that starts at `time_epochs` and lasts `step_epochs`.

    The warm-up counts to the end of the step, so that the first step is not wasted on a rate of zero.
    Cosine after Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; one_cycle after Smith 2018,
    arXiv:1803.09820, and Smith and Topin 2017, arXiv:1708.07120, with arms of cosines; plateau by the losses of the epochs before this one.
    """
    if time_epochs + step_epochs < config.warmup_epochs:
        return config.lr * (time_epochs + step_epochs) / config.warmup_epochs
    past = time_epochs - config.warmup_epochs
    done = min(max(past / max(config.epochs - config.warmup_epochs, 1e-12), 0.0), 1.0)
    if config.schedule == "cosine":
        return _cosine(config.lr, config.min_lr, done)
    if config.schedule == "linear":
        return max(config.min_lr, config.lr + (config.min_lr - config.lr) * done)
    if config.schedule == "step":
        # A sum of fractions of epochs may fall short of the whole it stands for by a rounding error.
        return max(config.min_lr, config.lr * config.gamma ** floor(max(past, 0.0) / config.step_epochs + 1e-9))
    if config.schedule == "plateau":
        return max(config.min_lr, config.lr * config.gamma ** count_drops(validation_losses, config.plateau_epochs))
    if config.schedule == "one_cycle":
        rising, share = _arm(config, time_epochs, step_epochs)
        return _cosine(config.lr * START, config.lr, share) if rising else _cosine(config.lr, config.min_lr, share)
    return config.lr


def cycled_momentum(config: TrainConfig, highest: float, time_epochs: float, step_epochs: float = 0.0) -> float:
    """The momentum of one_cycle: low where the rate is high, which lets both be larger (Smith 2018, section 4.3)."""
    lowest = min(highest, config.momentum_at_peak)
    rising, share = _arm(config, time_epochs, step_epochs)
    return _cosine(highest, lowest, share) if rising else _cosine(lowest, highest, share)


def count_drops(losses: Sequence[float | None], patience: int) -> int:
    """How often more than `patience` epochs in a row brought no gain; after each the count begins anew."""
    lowest, without_gain, drops = inf, 0, 0
    for loss in losses:
        if loss is not None and loss < lowest * (1 - GAIN):
            lowest, without_gain = loss, 0
        else:
            without_gain += 1
        if without_gain > patience:
            drops, without_gain = drops + 1, 0
    return drops


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2


def _arm(config: TrainConfig, time_epochs: float, step_epochs: float) -> tuple[bool, float]:
    """Whether one_cycle still rises, and how much of that arm is done. The last step of an arm is at its very end."""
    peak = max(config.peak * config.epochs - step_epochs, 0.0)
    # Time is a sum of steps, and may miss the peak by a rounding error.
    if time_epochs < peak * (1 - 1e-9):
        return True, time_epochs / peak
    falls = config.epochs - step_epochs - peak
    return False, min((time_epochs - peak) / falls, 1.0) if falls > 0 else 1.0
