"""The published SqueezeNet becomes a file of ours, exactly and smaller; hostile `.net` files become sentences."""

import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tersenet import artifact, zoo
from tersenet.container import decode
from tersenet.errors import TersenetError
from tersenet.importers import import_net
from tersenet.importers._net_file import LayerShape, read_net
from tersenet.training.evaluate import evaluate
from tersenet.zoo.file_preprocess import from_file

MODELS = "models/deep-compression"
# xz -9 makes 559,656 bytes of the original.
TARGET_BYTES = {"huffman": 556_000, "rans": 548_000, "range": 525_000}

CONV = LayerShape(name="conv", op="conv2d", weight_shape=(2, 1, 3, 3), bias_size=2)
FC = LayerShape(name="fc", op="linear", weight_shape=(4, 10), bias_size=4)


@pytest.fixture(scope="module")
def squeezenet(data_dir):
    return import_net(data_dir / MODELS / "compressed_SqueezeNet.net", "squeezenet1_0")


def net_bytes(*layers):
    """A `.net` file of (shape, values, bias, codes, gaps)."""
    data = b"".join(struct.pack("<I", len(codes)) for _, _, _, codes, _ in layers)
    for shape, values, bias, codes, gaps in layers:
        size = 256 if shape.op == "conv2d" else 16
        table = np.zeros(size, "<f4")
        table[: len(values)] = values
        data += table.tobytes() + np.asarray(bias, "<f4").tobytes()
        data += bytes(codes) if size == 256 else halves(codes)
        data += halves(gaps)
    return data


def halves(numbers):
    padded = [*numbers, 0]
    return bytes(padded[i] | padded[i + 1] << 4 for i in range(0, len(numbers), 2))


CONV_LAYER = (CONV, [0.0, 1.5, -2.0], [0.25, -0.5], [1, 0, 2], [0, 15, 0])
FC_LAYER = (FC, [0.0, 3.0, 4.0], [1, 2, 3, 4], [1, 2, 1], [2, 0, 3])
BOTH = net_bytes(CONV_LAYER, FC_LAYER)


def test_codes_gaps_and_fillers_are_read_as_the_format_says():
    conv, fc = read_net(BOTH, [CONV, FC], "x")
    assert conv.position.tolist() == [0, 16, 17] and conv.codes.tolist() == [1, 0, 2]
    assert conv.values[:3].tolist() == [0.0, 1.5, -2.0] and conv.bias.tolist() == [0.25, -0.5]
    assert fc.position.tolist() == [2, 3, 7] and fc.codes.tolist() == [1, 2, 1] and len(fc.values) == 16


@pytest.mark.parametrize("length", range(0, len(BOTH), 7))
def test_a_cut_file_is_refused(length):
    with pytest.raises(TersenetError, match="cut|counts ask for"):
        read_net(BOTH[:length], [CONV, FC], "x")


@pytest.mark.parametrize("extra", [b"\0", BOTH])
def test_bytes_behind_the_end_are_refused(extra):
    with pytest.raises(TersenetError, match=f"ask for {len(BOTH):,} bytes, the file has {len(BOTH + extra):,}"):
        read_net(BOTH + extra, [CONV, FC], "x")


@pytest.mark.parametrize("count", [19, 2**32 - 1])
def test_more_entries_than_places_are_refused_before_anything_is_allocated(count):
    with pytest.raises(TersenetError, match=f"{count:,} entries are declared for conv, whose weight has 18 places"):
        read_net(struct.pack("<I", count) + BOTH[4:], [CONV, FC], "x")


def test_another_count_that_changes_the_length_is_refused():
    with pytest.raises(TersenetError, match="counts ask for"):
        read_net(struct.pack("<I", 5) + BOTH[4:], [CONV, FC], "x")


def test_a_gap_past_the_end_is_refused():
    data = net_bytes((CONV, [0.0, 1.0], [0, 0], [1, 0, 1], [0, 15, 1]), FC_LAYER)
    with pytest.raises(TersenetError, match="gaps of conv reach place 18; its weight has 18"):
        read_net(data, [CONV, FC], "x")


def test_the_last_place_can_be_reached():
    data = net_bytes((CONV, [0.0, 1.0], [0, 0], [1, 0, 1], [0, 15, 0]), FC_LAYER)
    assert read_net(data, [CONV, FC], "x")[0].position.tolist() == [0, 16, 17]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_codebook_that_is_not_finite_is_refused(value):
    with pytest.raises(TersenetError, match="codebook of conv holds NaN or infinite"):
        read_net(net_bytes((CONV, [0.0, value], [0, 0], [1], [0]), FC_LAYER), [CONV, FC], "x")


def test_a_bias_that_is_not_finite_is_refused():
    with pytest.raises(TersenetError, match="bias of conv holds NaN or infinite"):
        read_net(net_bytes((CONV, [0.0], [0, np.nan], [0], [0]), FC_LAYER), [CONV, FC], "x")


def test_a_half_byte_left_over_must_be_zero():
    damaged = bytearray(net_bytes(CONV_LAYER))
    damaged[-1] |= 0x10
    with pytest.raises(TersenetError, match="half byte"):
        read_net(bytes(damaged), [CONV], "x")


def test_a_layer_without_entries_is_all_zero():
    assert read_net(net_bytes((CONV, [0.0], [1, 2], [], [])), [CONV], "x")[0].position.size == 0


def test_an_operation_without_a_code_width_is_refused():
    with pytest.raises(TersenetError, match="embedding"):
        read_net(bytes(4), [LayerShape(name="e", op="embedding", weight_shape=(1,), bias_size=0)], "x")


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "x.net"
    path.write_bytes(BOTH)
    with pytest.raises(TersenetError, match="counts ask for|cut|entries are declared"):
        import_net(path, "lenet5")


def test_fully_connected_layers_have_sixteen_values(tmp_path):
    """A linear network of the zoo as a `.net` file with 4-bit codes, through import, file and back."""
    rng = np.random.default_rng(0)
    values = np.concatenate([[0.0], rng.normal(size=15)]).astype(np.float32)
    codes = rng.integers(1, 16, 401)
    gaps = rng.integers(0, 15, 401)
    shape = LayerShape(name="fc", op="linear", weight_shape=(10, 784), bias_size=10)
    path = tmp_path / "linear.net"
    path.write_bytes(net_bytes((shape, values, np.arange(10.0), codes.tolist(), gaps.tolist())))
    network = import_net(path, "linear")
    expected = np.zeros(7840, np.float32)
    expected[np.cumsum(gaps + 1) - 1] = values[codes]
    name = network.weighted_layers()[0].weight
    again = artifact.from_contents(decode(artifact.to_bytes(network)))
    for one in (network, again):
        assert one.dense(name).numpy().reshape(-1).tobytes() == expected.tobytes()


def test_an_empty_layer_goes_through_a_file(tmp_path):
    path = tmp_path / "linear.net"
    shape = LayerShape(name="fc", op="linear", weight_shape=(10, 784), bias_size=10)
    path.write_bytes(net_bytes((shape, [0.0], np.arange(10.0), [], [])))
    network = import_net(path, "linear")
    again = artifact.from_contents(decode(artifact.to_bytes(network)))
    assert torch.count_nonzero(again.dense(again.weighted_layers()[0].weight)) == 0


def test_every_weight_equals_the_answer_key(squeezenet, data_dir):
    key = load_file(data_dir / MODELS / "squeezenet_v1.0_decoded.safetensors")
    assert set(key) == set(squeezenet.graph.parameters)
    for name, tensor in key.items():
        assert torch.equal(squeezenet.dense(name), tensor), name


@pytest.mark.parametrize("coder", TARGET_BYTES)
def test_the_file_is_as_small_as_promised_and_as_exact(squeezenet, coder):
    data = artifact.to_bytes(squeezenet, coder, provenance={"net": "squeezenet1_0"})
    assert len(data) <= TARGET_BYTES[coder]
    contents = decode(data)
    again = artifact.from_contents(contents)
    for name in squeezenet.graph.parameters:
        assert torch.equal(again.dense(name), squeezenet.dense(name)), name
    assert contents.model.graph.preprocess.crop == 227 and contents.model.graph.preprocess.channels == "bgr"


@pytest.mark.parametrize(
    ("images", "top1", "top5"),
    [(100, 0.65, 0.85), pytest.param(1000, 0.614, 0.833, marks=pytest.mark.slow)],
)
def test_the_file_answers_as_the_published_net_did(squeezenet, data_dir, images, top1, top5):
    """All thousand images give the published accuracy; the answers to the first hundred were counted once."""
    again = artifact.from_contents(decode(artifact.to_bytes(squeezenet, "rans")))
    data = zoo.load("imagenet_sample", data_dir, preprocess=from_file(again.graph.preprocess), parts=("test",))
    score = evaluate(again, data.test.take(range(images)), batch_size=50)
    assert (score.accuracy, score.top5) == (top1, top5)
