"""The published networks that run.py rounds: what they are calibrated on, and how their answers are scored."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import published

from tersenet.graph import Network, capture
from tersenet.methods.curvature import Outputs
from tersenet.methods.distill import Views
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES
from tersenet.zoo.data import load
from tersenet.zoo.mlperf_tiny import ad01_windows, anomaly_score
from tersenet.zoo.silero_vad import CONTEXT, FRAME, HIDDEN, read_wav, speech_probabilities

Batches = list[tuple[Tensor, ...]]
Score = Callable[[nn.Module], float]
INPUTS = 2048
BATCH = 128


@dataclass(frozen=True)
class Subject:
    """A published network and its target.

    bits      most bits a weight, the whole file counted, and
    lost      how much of the score may be lost: points of accuracy, or percent of an error
    outputs   what it answers, as `round_network` takes it
    """

    title: str
    zoo: str
    weights: str
    bits: float
    lost: float
    score: str
    outputs: Outputs = "classes"


CIFAR, EDGE = "models/cifar10-resnet", "models/mobilenet-imagenet"
POINTS, ERROR = "top-1, %", "error"
SUBJECTS = {
    "resnet20": Subject("ResNet-20", "resnet20", f"{CIFAR}/resnet20-12fca82f.safetensors", 1.5, 0.5, POINTS),
    "resnet32": Subject("ResNet-32", "resnet32", f"{CIFAR}/resnet32-d509ac18.safetensors", 1.35, 0.5, POINTS),
    "resnet56": Subject("ResNet-56", "resnet56", f"{CIFAR}/resnet56-4bfd9763.safetensors", 1.2, 0.5, POINTS),
    "mobilenet_v1_025": Subject(
        "MobileNetV1 0.25", "mobilenet_v1_025_128", f"{EDGE}/mobilenet_v1_0.25_128_uint8.safetensors", 3.5, 1.0, POINTS
    ),
    "mobilenet_v1_075": Subject(
        "MobileNetV1 0.75", "mobilenet_v1_075_192", f"{EDGE}/mobilenet_v1_0.75_192_uint8.safetensors", 3.5, 1.0, POINTS
    ),
    "mobilenet_v2": Subject(
        "MobileNetV2", "mobilenet_v2", f"{EDGE}/mobilenet_v2_1.0_224_int8.safetensors", 3.5, 1.0, POINTS
    ),
    "squeezenet": Subject(
        "SqueezeNet", "squeezenet1_0", "models/deep-compression/squeezenet_v1.0_decoded.safetensors", 2.5, 1.0, POINTS
    ),
    "stories260k": Subject(
        "stories260K", "stories260k", "models/stories260k/stories260K.safetensors", 4.0, 1.0, ERROR, "values"
    ),
    "silero_vad": Subject(
        "Silero VAD", "silero_vad", "models/silero-vad/silero_vad_16k.safetensors", 4.0, 1.0, "frames agreed, %", "values"
    ),
    "ad01": Subject(
        "anomaly autoencoder", "ad01_autoencoder", "models/mlperf-tiny/ad01_autoencoder.safetensors", 4.0, 1.0, ERROR,
        "values",
    ),
}  # fmt: skip


def opened(name: str) -> tuple[Network, Batches, dict[str, Score]]:
    """The network, what it is calibrated on (no labels), and its scores by name, the target's first."""
    subject = SUBJECTS[name]
    model = published(subject.zoo, subject.weights).eval()
    if name.startswith("resnet"):
        return _cifar(model, subject)
    if name == "stories260k":
        return _stories(model)
    if name == "silero_vad":
        return _silero(model, subject)
    if name == "ad01":
        return _anomaly(model)
    return _imagenet(model, subject)


def _cifar(model: nn.Module, subject: Subject) -> tuple[Network, Batches, dict[str, Score]]:
    data = load("cifar10", preprocess=ENTRIES[subject.zoo].preprocess)
    drawn = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:INPUTS]
    moved = Views(data.train, 1, augment="flip_crop")
    batches = [(part,) for part in moved.batch(drawn)[0].split(BATCH)]
    net = capture(model, batches[0][0][:2])
    return net, batches, {POINTS: lambda one: round(100 * evaluate(one, data.test).accuracy, 2)}


def _imagenet(model: nn.Module, subject: Subject) -> tuple[Network, Batches, dict[str, Score]]:
    """Calibrated on pictures of even index and their mirror images, scored on the odd."""
    pictures = load("imagenet_sample", preprocess=ENTRIES[subject.zoo].preprocess, parts=("test",)).test
    even, odd = (pictures.take(range(first, len(pictures), 2)) for first in (0, 1))
    batches = [(seen,) for x, _ in even.batches(32) for seen in (x, x.flip(-1))]
    net = capture(model, batches[0][0][:2])
    original = _classes(net, odd)

    def agreed(one: nn.Module) -> float:
        return round(100 * float((_classes(one, odd) == original).float().mean()), 2)

    return net, batches, {POINTS: lambda one: round(100 * evaluate(one, odd).accuracy, 2), "agreed, %": agreed}


def _classes(model: nn.Module, split: object) -> Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(x).argmax(1) for x, _ in split.batches(50)])


def _stories(model: nn.Module) -> tuple[Network, Batches, dict[str, Score]]:
    """Calibrated on what the network drew from itself, scored in nats a token on real stories, which are longer."""
    data = load("stories")
    ((x, y),) = data.test.batches(100)
    drawn = torch.cat([part for part, _ in data.train.batches(16)]).flatten()
    cut = drawn[: len(drawn) // x.shape[1] * x.shape[1]].reshape(-1, x.shape[1])
    batches = [(part,) for part in cut.split(16)]

    def nats(one: nn.Module) -> float:
        one.eval()
        with torch.no_grad():
            return round(float(F.cross_entropy(one(x).flatten(0, 1), y.flatten())), 4)

    return capture(model, batches[0][0][:2]), batches, {ERROR: nats}


def _silero(model: nn.Module, subject: Subject) -> tuple[Network, Batches, dict[str, Score]]:
    """Calibrated on the first half of a recording, every second frame with the state the network has there; scored on
    the second half by the share of frames decided as the original decides them."""
    folder = Path(os.environ["TERSENET_DATA"]) / Path(subject.weights).parent
    samples = read_wav(folder / "test_16k.wav")
    half = len(samples) // 2 // FRAME * FRAME
    frames = F.pad(samples[:half], (CONTEXT, 0)).unfold(0, CONTEXT + FRAME, FRAME)
    h, c, met = torch.zeros(1, HIDDEN), torch.zeros(1, HIDDEN), []
    with torch.no_grad():
        for frame in frames:
            met.append((frame[None], h, c))
            _, h, c = model(frame[None], h, c)
    batches = [tuple(torch.cat(part) for part in zip(*met[at :: 2 * 8])) for at in range(0, 2 * 8, 2)]
    original = speech_probabilities(model, samples[half:]) > 0.5

    def agreed(one: nn.Module) -> float:
        said = speech_probabilities(one, samples[half:]) > 0.5
        return round(100 * float((said == original).float().mean()), 2)

    return capture(model, tuple(one[:2] for one in batches[0])), batches, {subject.score: agreed}


def _anomaly(model: nn.Module) -> tuple[Network, Batches, dict[str, Score]]:
    """Calibrated on the first half of the one recording there is, scored on the second."""
    folder = Path(os.environ["TERSENET_DATA"]) / "models" / "mlperf-tiny"
    recording = torch.from_numpy(np.load(folder / "ad01_normal_id_01_00000000_logmel.npy"))
    half = len(recording) // 2
    batches = [(ad01_windows(recording[:half]),)]
    return capture(model, batches[0][0][:2]), batches, {ERROR: partial(_error, recording=recording[half:])}


def _error(model: nn.Module, recording: Tensor) -> float:
    model.eval()
    return round(anomaly_score(model, recording), 4)


def lost(subject: Subject, dense: float, now: float) -> float:
    """Points, or percent of an error."""
    return round(100 * (now / dense - 1), 2) if subject.score == ERROR else round(dense - now, 2)


def weights_of(network: Network, names: Sequence[str] | None = None) -> int:
    """How many numbers the layers' weights are; vectors do not count, though the file holds them."""
    layers = {layer.weight for layer in network.weighted_layers()}
    return sum(network.dense(name).numel() for name in names or layers)
