"""The published weights, in our networks on our loaders, answer as was measured when they were published.

Every network runs here on a part whose count comes from one run over the whole set, image by image
(the parts are the first images: the sets are in a fixed pseudo-random order, or one image a class);
the whole sets run with -m slow.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tersenet.zoo import Split, entry, load, load_weights, network
from tersenet.zoo.mlperf_tiny import ad01_windows, anomaly_score
from tersenet.zoo.preprocess import Preprocess
from tersenet.zoo.silero_vad import read_wav, speech_probabilities


@cache
def stored(name: str, folder: Path) -> Split:
    """The test part of a data set, read once for all networks."""
    return load(name, data_dir=folder, parts=("test",)).test


def answers(
    name: str, weights: str, folder: Path, rows: range | np.ndarray | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the first, and whether one of the first five answers is right, image by image."""
    line = entry(name)
    assert line.data is not None
    test = replace(stored(line.data, folder), preprocess=line.preprocess)
    model = load_weights(network(name), folder / "models" / f"{weights}.safetensors").eval()
    first, five = [], []
    with torch.no_grad():
        for x, y in (test if rows is None else test.take(rows)).batches(100):
            scores = model(x)
            first.append(scores.argmax(1) == y)
            five.append((scores.topk(5, 1).indices == y[:, None]).any(1))
    return torch.cat(first), torch.cat(five)


@pytest.mark.parametrize(
    ("name", "weights", "right"),
    [
        ("lenet_300_100", "lenet-mnist/lenet300100_original", 9772),
        ("lenet_300_100", "lenet-mnist/lenet300100_sparse", 9801),
        ("lenet5", "lenet-mnist/lenet5_original", 9909),
        ("lenet5", "lenet-mnist/lenet5_sparse", 9909),
    ],
)
def test_a_published_lenet_is_right_as_often_as_published(name, weights, right, data_dir):
    assert answers(name, weights, data_dir, None)[0].sum() == right


def test_the_mlperf_tiny_resnet_is_right_on_as_many_of_its_own_200_images(data_dir):
    with np.load(data_dir / "cifar10/cifar10-test.npz") as file:
        own = file["mlperf_tiny_ic01_idx"].astype(np.int64)
    assert len(own) == 200
    assert answers("resnet8", "mlperf-tiny/resnet8_cifar10", data_dir, own)[0].sum() == 174


RESNETS = [
    ("resnet8", "mlperf-tiny/resnet8_cifar10", 889, 8719),
    ("resnet20", "cifar10-resnet/resnet20-12fca82f", 927, 9173),
    ("resnet32", "cifar10-resnet/resnet32-d509ac18", 936, 9263),
    ("resnet56", "cifar10-resnet/resnet56-4bfd9763", 934, 9339),
]


@pytest.mark.parametrize(("name", "weights", "right", "_all"), RESNETS)
def test_a_published_resnet_is_right_on_as_many_of_the_first_thousand(name, weights, right, _all, data_dir):
    assert answers(name, weights, data_dir, range(1000))[0].sum() == right


@pytest.mark.slow
@pytest.mark.parametrize(("name", "weights", "_part", "right"), RESNETS)
def test_a_published_resnet_is_right_as_often_as_published(name, weights, _part, right, data_dir):
    assert answers(name, weights, data_dir, None)[0].sum() == right


# Right first answers and right among five: of the first 40 images, and of all 1,000.
IMAGENET = [
    ("squeezenet1_0", "deep-compression/squeezenet_v1.0_decoded", (27, 34), (614, 833)),
    ("mobilenet_v1_025_128", "mobilenet-imagenet/mobilenet_v1_0.25_128_uint8", (24, 33), (431, 711)),
    ("mobilenet_v1_075_192", "mobilenet-imagenet/mobilenet_v1_0.75_192_uint8", (30, 35), (778, 943)),
    ("mobilenet_v2", "mobilenet-imagenet/mobilenet_v2_1.0_224_int8", (32, 38), (879, 982)),
]


@pytest.mark.parametrize(("name", "weights", "right", "_all"), IMAGENET)
def test_a_published_imagenet_net_is_right_on_as_many_of_the_first_40(name, weights, right, _all, data_dir):
    first, five = answers(name, weights, data_dir, range(40))
    assert (first.sum(), five.sum()) == right


@pytest.mark.slow
@pytest.mark.parametrize(("name", "weights", "_part", "right"), IMAGENET)
def test_a_published_imagenet_net_is_right_as_often_as_published(name, weights, _part, right, data_dir):
    first, five = answers(name, weights, data_dir, None)
    assert (first.sum(), five.sum()) == right


def test_the_small_llama_predicts_stories_as_well_as_measured(data_dir):
    model = load_weights(network("stories260k"), data_dir / "models/stories260k/stories260K.safetensors").eval()
    data = load("stories", data_dir=data_dir)

    def nats(split):
        with torch.no_grad():
            return [F.cross_entropy(model(x).flatten(0, 1), y.flatten()) for x, y in split.batches(100)]

    assert int((data.test.y >= 0).sum()) == 1804
    (real,) = nats(data.test)
    assert f"{real:.4f}" == "1.2664"
    (train,), (validate,) = nats(data.train), nats(data.validate)
    assert f"{(56 * train + 8 * validate) / 64:.4f}" == "1.3013"


def test_the_voice_activity_net_repeats_the_reference_output(data_dir):
    folder = data_dir / "models/silero-vad"
    model = load_weights(network("silero_vad"), folder / "silero_vad_16k.safetensors").eval()
    got = speech_probabilities(model, read_wav(folder / "test_16k.wav"))
    expected = np.load(folder / "test_16k_speech_prob.npy")
    assert got.shape == expected.shape == (1875,)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert ((got.numpy() > 0.5) == (expected > 0.5)).all()


def test_the_anomaly_autoencoder_gives_the_published_score(data_dir):
    folder = data_dir / "models/mlperf-tiny"
    model = load_weights(network("ad01_autoencoder"), folder / "ad01_autoencoder.safetensors").eval()
    recording = torch.from_numpy(np.load(folder / "ad01_normal_id_01_00000000_logmel.npy"))
    assert ad01_windows(recording).shape == (196, 640)
    assert torch.equal(ad01_windows(recording)[3], recording[3:8].flatten())
    assert f"{anomaly_score(model, recording):.4f}" == "9.4913"


def test_the_person_detector_runs_on_photographs(data_dir):
    weights = data_dir / "models/mlperf-tiny/vww_mobilenetv1_025_96.safetensors"
    model = load_weights(network("vww_mobilenet"), weights).eval()
    photographs = stored("imagenet_sample", data_dir).x[:200]
    with torch.no_grad():
        scores = model(Preprocess(crop=224, resize=96, scale=1 / 255).apply(torch.from_numpy(photographs)))
    assert scores.shape == (200, 2) and scores.isfinite().all()
    # No labels exist; counted once in float32, so that a change of padding or of a norm's eps shows.
    assert scores.argmax(1).sum() == 14
