"""The table of reference networks: id, where it is built, what it reads. Nothing here imports torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tersenet.errors import TersenetError
from tersenet.zoo._names import nearest
from tersenet.zoo.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn


class UnknownNetwork(TersenetError):
    """A network that the table does not hold."""


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """One line of the table.

    factory       "module:callable" that builds it
    data          the data set it is used with; None where no labelled one can be had
    input_shape   of one example, without the batch
    classes       how many outputs are told apart; 0 where it does not classify
    description   one line
    preprocess    from stored pixels to its input
    state_shapes  of further inputs of one example (the state of a recurrent net)
    tokens        the input is whole numbers below `classes`, not floats
    """

    factory: str
    data: str | None
    input_shape: tuple[int, ...]
    classes: int
    description: str
    preprocess: Preprocess = field(default_factory=Preprocess)
    state_shapes: tuple[tuple[int, ...], ...] = ()
    tokens: bool = False


# Caffe's LeNet example: pixel / 256, no mean.
_LENET = Preprocess(scale=1 / 256)
# The usual ImageNet statistics, which the published CIFAR ResNets were trained with too.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CIFAR = Preprocess(scale=1 / 255, mean=_MEAN, std=_STD)
# The mean pixel of ImageNet, as Caffe's models subtract it, blue first.
_CAFFE_227 = Preprocess(crop=227, channels="BGR", mean=(104.0, 117.0, 123.0))


def _mobilenet(side: int) -> Preprocess:
    """The central 224 pixels at the net's size, x / 127.5 - 1."""
    return Preprocess(crop=224, resize=side, scale=1 / 127.5, mean=(1.0, 1.0, 1.0))


def _mnist(factory: str, description: str) -> NetworkEntry:
    return NetworkEntry(
        factory=f"tersenet.zoo.{factory}",
        data="mnist",
        input_shape=(1, 28, 28),
        classes=10,
        description=description,
        preprocess=_LENET,
    )


def _cifar(factory: str, description: str, preprocess: Preprocess = _CIFAR) -> NetworkEntry:
    return NetworkEntry(
        factory=f"tersenet.zoo.{factory}",
        data="cifar10",
        input_shape=(3, 32, 32),
        classes=10,
        description=description,
        preprocess=preprocess,
    )


def _imagenet(factory: str, side: int, description: str, preprocess: Preprocess) -> NetworkEntry:
    return NetworkEntry(
        factory=f"tersenet.zoo.{factory}",
        data="imagenet_sample",
        input_shape=(3, side, side),
        classes=1000,
        description=description,
        preprocess=preprocess,
    )


ENTRIES: Mapping[str, NetworkEntry] = MappingProxyType(
    {
        "linear": _mnist("linear:Linear", "one linear layer, 784-10"),
        "mlp": _mnist("mlp:MLP", "multilayer perceptron 784-120-80-10"),
        "lenet_300_100": _mnist("lenet:LeNet300100", "LeNet-300-100, fully connected, 0.27 M parameters"),
        "lenet5": _mnist("lenet:LeNet5", "LeNet-5 in Caffe's form 20/50/500/10, 0.43 M parameters"),
        "lenet5_3": _cifar("lenet:LeNet5ThreeChannel", "LeNet-5 on three channels, 6/16/120/84/10"),
        "lenet5_tf": _mnist("lenet:LeNet5TF", "LeNet-5 in TensorFlow's form, 32/64/3136-512-10"),
        "shallow_mnist": _mnist("shallow:shallow_mnist", "one hidden layer at a budget; option parameters, bottleneck"),
        "shallow_conv_mnist": _mnist(
            "shallow:shallow_conv_mnist", "1 to 3 convolutions and one hidden layer at a budget; also option convs"
        ),
        "shallow_cifar10": _cifar(
            "shallow:shallow_cifar10", "one hidden layer behind a linear bottleneck, at a budget of 1 M parameters"
        ),
        "shallow_conv_cifar10": _cifar(
            "shallow:shallow_conv_cifar10", "1 to 3 convolutions and one hidden layer, at a budget of 1 M parameters"
        ),
        "alexnet": _imagenet(
            "alexnet:AlexNet", 227, "AlexNet with response normalisation and groups, 61 M", _CAFFE_227
        ),
        "vgg16": _imagenet(
            "vgg:VGG16",
            224,
            "VGG-16, 138 M parameters",
            Preprocess(crop=224, channels="BGR", mean=(104.0, 117.0, 123.0)),
        ),
        "vgg16_cifar": _cifar("vgg:VGG16Cifar", "VGG-16 for CIFAR with BatchNorm, 14.7 M parameters"),
        "resnet20": _cifar("resnet:resnet20", "ResNet-20 for CIFAR, 0.27 M parameters"),
        "resnet32": _cifar("resnet:resnet32", "ResNet-32 for CIFAR, 0.46 M parameters"),
        "resnet44": _cifar("resnet:resnet44", "ResNet-44 for CIFAR, 0.66 M parameters"),
        "resnet56": _cifar("resnet:resnet56", "ResNet-56 for CIFAR, 0.85 M parameters"),
        "resnet110": _cifar("resnet:resnet110", "ResNet-110 for CIFAR, 1.7 M parameters"),
        "resnet8": _cifar("mlperf_tiny:ResNet8", "ResNet-8 of MLPerf Tiny, reads 0-255", Preprocess()),
        "squeezenet1_0": _imagenet("squeezenet:SqueezeNet", 227, "SqueezeNet 1.0, 1.2 M", _CAFFE_227),
        "mobilenet_v1": _imagenet(
            "mobilenet:MobileNetV1", 224, "MobileNetV1; options width, resolution", _mobilenet(224)
        ),
        "mobilenet_v1_025_128": _imagenet(
            "mobilenet:mobilenet_v1_025_128", 128, "MobileNetV1 of width 0.25 at 128 pixels", _mobilenet(128)
        ),
        "mobilenet_v1_075_192": _imagenet(
            "mobilenet:mobilenet_v1_075_192", 192, "MobileNetV1 of width 0.75 at 192 pixels", _mobilenet(192)
        ),
        "mobilenet_v2": _imagenet(
            "mobilenet:MobileNetV2", 224, "MobileNetV2; options width, resolution", _mobilenet(224)
        ),
        "vww_mobilenet": NetworkEntry(
            factory="tersenet.zoo.mlperf_tiny:VWWMobileNet",
            data=None,
            input_shape=(3, 96, 96),
            classes=2,
            description="person or no person, MobileNetV1 0.25 of MLPerf Tiny",
            preprocess=Preprocess(scale=1 / 255),
        ),
        "ad01_autoencoder": NetworkEntry(
            factory="tersenet.zoo.mlperf_tiny:AD01Autoencoder",
            data=None,
            input_shape=(640,),
            classes=0,
            description="anomaly autoencoder of MLPerf Tiny, on windows of log-mel frames",
        ),
        "stories260k": NetworkEntry(
            factory="tersenet.zoo.llama:Llama",
            data="stories",
            input_shape=(256,),
            classes=512,
            description="a Llama of 0.26 M parameters that tells small stories",
            tokens=True,
        ),
        "silero_vad": NetworkEntry(
            factory="tersenet.zoo.silero_vad:SileroVAD",
            data=None,
            input_shape=(576,),
            classes=0,
            description="voice activity in 512 samples at 16 kHz, convolutions and an LSTM cell",
            state_shapes=((128,), (128,)),
        ),
    }
)

NETWORKS: dict[str, str] = {name: entry.factory for name, entry in ENTRIES.items()}


def entry(name: str) -> NetworkEntry:
    """The table's line for `name`."""
    found = ENTRIES.get(name)
    if found is None:
        raise UnknownNetwork(f"network {name!r} is not in the zoo; {nearest(name, ENTRIES)}")
    return found


def network(name: str, **options: Any) -> nn.Module:
    """Build a reference network with fresh weights; `options` go to its constructor."""
    module, _, factory = entry(name).factory.partition(":")
    build = getattr(importlib.import_module(module), factory)
    try:
        model: nn.Module = build(**options)
    except TypeError as error:
        raise TersenetError(f"network {name!r} does not take the options {options}: {error}") from error
    return model


def example_inputs(name: str, batch: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
    """Random inputs of the right shapes and types, to trace, export or time a network with."""
    import torch

    line = entry(name)
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *line.input_shape)
    if line.tokens:
        first = torch.randint(line.classes, shape, generator=generator)
    else:
        first = torch.randn(shape, generator=generator)
    return (first, *(torch.zeros(batch, *state) for state in line.state_shapes))
