"""How each reference network is trained from scratch: fields of a TrainConfig. Nothing here imports torch.

LeNets and the MLP: Caffe's LeNet example trains some ten epochs by SGD; twenty with a cosine end a little better.
ResNets: He et al. 2015, section 4.2, train 164 epochs (64k steps of 128) with flips and crops, rate 0.1 in steps;
here the same with a cosine, which needs no hand-set steps. The ImageNet networks follow their own papers.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

_LENET: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 64,
    "optimiser": "sgd",
    "lr": 0.02,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
}
_RESNET: dict[str, Any] = {
    "epochs": 164,
    "batch_size": 128,
    "optimiser": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "augment": "flip_crop",
}
_IMAGENET: dict[str, Any] = {
    "epochs": 90,
    "batch_size": 128,
    "optimiser": "sgd",
    "lr": 0.01,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "augment": "flip_crop",
}
_MOBILENET = _IMAGENET | {"lr": 0.045, "weight_decay": 4e-5}  # Sandler et al. 2018, section 6.1
# Loshchilov and Hutter's AdamW at the rate that small transformers are trained with.
_TOKENS: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 16,
    "optimiser": "adamw",
    "lr": 5e-4,
    "weight_decay": 0.1,
    "warmup_epochs": 0.5,
    "clip_grad_norm": 1.0,
}

GENERAL: dict[str, Any] = {"epochs": 20, "batch_size": 64, "optimiser": "adam", "lr": 1e-3, "schedule": "cosine"}
"""For a network that is not in the table: Adam forgives a rate that was not tuned."""

BASELINES: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "linear": _LENET | {"weight_decay": 1e-4},
        "mlp": _LENET,
        "lenet_300_100": _LENET,
        "lenet5": _LENET,
        "lenet5_tf": _LENET,
        "lenet5_3": _LENET | {"epochs": 60, "augment": "flip_crop"},
        # Plain layers at a width that a budget decides: a rate that was not tuned, as for networks not in the table.
        "shallow_mnist": GENERAL,
        "shallow_conv_mnist": GENERAL,
        "shallow_cifar10": GENERAL | {"epochs": 60, "augment": "flip_crop"},
        "shallow_conv_cifar10": GENERAL | {"epochs": 60, "augment": "flip_crop"},
        **dict.fromkeys(("resnet8", "resnet20", "resnet32", "resnet44", "resnet56"), _RESNET),
        # He et al. warm the deepest one up for longer, since it does not start at 0.1.
        "resnet110": _RESNET | {"warmup_epochs": 5},
        "vgg16_cifar": _RESNET | {"lr": 0.05, "weight_decay": 5e-4},
        "alexnet": _IMAGENET,
        "vgg16": _IMAGENET,
        "squeezenet1_0": _IMAGENET | {"lr": 0.04, "weight_decay": 2e-4},
        **dict.fromkeys(
            ("mobilenet_v1", "mobilenet_v1_025_128", "mobilenet_v1_075_192", "mobilenet_v2", "vww_mobilenet"),
            _MOBILENET,
        ),
        "stories260k": _TOKENS,
        "ad01_autoencoder": {"epochs": 100, "batch_size": 512, "optimiser": "adam", "lr": 1e-3, "loss": "mse"},
    }
)
"""silero_vad has none: its training data and targets were never published."""


def baseline(name: str) -> dict[str, Any]:
    """The training of the network `name`, or a general one."""
    return dict(BASELINES.get(name, GENERAL))
