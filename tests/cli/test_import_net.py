"""The published format from the command line: a small `.net` made here, and SqueezeNet where the data is."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file

from tersenet import load

ENTRIES = 900


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The zoo's `linear` as a `.net`: 4-bit codes and gaps, two a byte; and the weight that it stands for."""
    rng = np.random.default_rng(0)
    values = np.concatenate([[0.0], rng.normal(size=15)]).astype("<f4")
    bias = np.arange(10.0, dtype="<f4")
    # Few codes are common, so that every coder has something to gain.
    codes, gaps = np.minimum(rng.geometric(0.5, ENTRIES), 15), rng.integers(0, 14, ENTRIES)
    packed = [(half[0::2] | half[1::2] << 4).astype(np.uint8).tobytes() for half in (codes, gaps)]
    path = tmp_path_factory.mktemp("net") / "linear.net"
    path.write_bytes(struct.pack("<I", ENTRIES) + values.tobytes() + bias.tobytes() + b"".join(packed))
    weight = np.zeros(7840, np.float32)
    weight[np.cumsum(gaps + 1) - 1] = values[codes]
    return path, weight.reshape(10, 784)


def test_every_weight_comes_through_to_the_bit(tersenet, net, tmp_path):
    path, weight = net
    output = tmp_path / "x.terse"
    record = tersenet("import", path, "--net", "linear", "-o", output, "--json").record
    assert record["bytes"] == output.stat().st_size and record["source_bytes"] == path.stat().st_size
    assert load(output).dense("fc.weight").numpy().tobytes() == weight.tobytes()
    assert load(output).dense("fc.bias").tolist() == list(range(10))
    provenance = tersenet("inspect", output, "--json").record["provenance"]
    assert provenance["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("coder", ["raw", "huffman", "rans", "range"])
def test_the_coder_can_be_chosen(tersenet, net, tmp_path, coder):
    output = tmp_path / "x.terse"
    assert tersenet("import", net[0], "--net", "linear", "--coder", coder, "-o", output).code == 0
    coders = {row["coder"] for row in tersenet("inspect", output, "--json").record["ledger"]}
    assert any(coder in one for one in coders)


def test_an_unknown_coder_is_refused(tersenet, net, tmp_path):
    said = tersenet("import", net[0], "--net", "linear", "--coder", "zip", "-o", tmp_path / "x.terse").refused()
    assert "zip" in said
    assert not list(tmp_path.iterdir())


def test_the_wrong_network_is_refused(tersenet, net, tmp_path):
    said = tersenet("import", net[0], "--net", "lenet5", "-o", tmp_path / "x.terse").refused()
    assert "linear.net" in said
    said = tersenet("import", net[0], "--net", "squeezenet", "-o", tmp_path / "x.terse").refused()
    assert "squeezenet1_0" in said
    assert not list(tmp_path.iterdir())


def test_a_cut_file_is_refused(tersenet, net, tmp_path):
    cut = tmp_path / "cut.net"
    cut.write_bytes(net[0].read_bytes()[:-1])
    assert "cut.net" in tersenet("import", cut, "--net", "linear", "-o", tmp_path / "x.terse").refused()


def test_the_published_squeezenet_is_imported_exactly(tersenet, data_dir, tmp_path):
    folder, output = data_dir / "models" / "deep-compression", tmp_path / "s.terse"
    words = ["import", folder / "compressed_SqueezeNet.net", "--net", "squeezenet1_0", "-o", output, "--coder", "rans"]
    record = tersenet(*words, "--json").record
    assert record["source_bytes"] == 675_763 and record["bytes"] <= 548_000
    weights = tmp_path / "s.safetensors"
    assert tersenet("unpack", output, "-o", weights).code == 0
    key, found = load_file(folder / "squeezenet_v1.0_decoded.safetensors"), load_file(weights)
    assert key.keys() == found.keys()
    assert all(np.array_equal(key[name], found[name]) for name in key)
