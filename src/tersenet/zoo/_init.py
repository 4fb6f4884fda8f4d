"""How the deep networks start: normal weights whose variance keeps a ReLU's signal (He et al. 2015)."""

from torch import nn


def he_init(model: nn.Module) -> None:
    """N(0, 2 / fan_in) for every convolution and linear weight (arXiv:1502.01852, eq. 10); biases 0."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
