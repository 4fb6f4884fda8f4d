"""The learning rate as a function of time alone, so that a resumed run has no schedule to restore."""

from math import cos, floor, pi

from tersenet.training.config import TrainConfig


def learning_rate(config: TrainConfig, time_epochs: float, step_epochs: float = 0.0) -> float:
    """The rate of the step that starts at `time_epochs` and lasts `step_epochs`.

    The warm-up counts to the end of the step, so that the first step is not wasted on a rate of zero.
    Cosine after Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.
    """
    if time_epochs + step_epochs < config.warmup_epochs:
        return config.lr * (time_epochs + step_epochs) / config.warmup_epochs
    past = time_epochs - config.warmup_epochs
    done = min(max(past / max(config.epochs - config.warmup_epochs, 1e-12), 0.0), 1.0)
    if config.schedule == "cosine":
        return config.min_lr + (config.lr - config.min_lr) * (1 + cos(pi * done)) / 2
    if config.schedule == "linear":
        return max(config.min_lr, config.lr + (config.min_lr - config.lr) * done)
    if config.schedule == "step":
        # A sum of fractions of epochs may fall short of the whole it stands for by a rounding error.
        return max(config.min_lr, config.lr * config.gamma ** floor(max(past, 0.0) / config.step_epochs + 1e-9))
    return config.lr
