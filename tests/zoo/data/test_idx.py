"""MNIST files: the published bytes read right; anything cut, foreign or mismatched is a sentence."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from tersenet.zoo import load
from tersenet.zoo.data import DataError, DataMissing
from tersenet.zoo.data.idx import REMOTE, read_images, read_labels, read_pair


def images(n, side=28, magic=2051, claim=None):
    head = struct.pack(">4I", magic, n if claim is None else claim, side, side)
    return head + np.random.RandomState(0).randint(0, 256, n * side * side).astype(np.uint8).tobytes()


def labels(n, magic=2049, claim=None):
    return struct.pack(">2I", magic, n if claim is None else claim) + bytes(i % 10 for i in range(n))


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("dotted", [False, True])
def test_both_spellings_packed_or_not_are_read(tmp_path, monkeypatch, suffix, dotted):
    monkeypatch.delenv("TERSENET_DATA", raising=False)
    pack = gzip.compress if suffix else bytes
    mark = "." if dotted else "-"
    for part, n in (("train", 40), ("t10k", 7)):
        (tmp_path / f"{part}-images{mark}idx3-ubyte{suffix}").write_bytes(pack(images(n)))
        (tmp_path / f"{part}-labels{mark}idx1-ubyte{suffix}").write_bytes(pack(labels(n)))
    data = load("mnist", data_dir=tmp_path)
    assert (len(data.train), len(data.validate), len(data.test)) == (37, 3, 7)
    assert data.test.x.tobytes() == images(7)[16:] and data.test.y.tolist() == list(range(7))
    only = load("mnist", data_dir=tmp_path, parts=("test",))
    with pytest.raises(DataMissing, match="not asked for"):
        _ = only.train


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "begins with nothing"),
        (images(3)[:9], "begins with"),
        (images(3, magic=2049), "begins with 2049"),
        (images(3)[:-1], "only 2351 bytes"),
        (images(3) + b"\0", "more bytes"),
        (images(0), "announces 0 items"),
        (images(0, claim=2**32 - 1), "announces 4294967295"),
        (images(1, side=27), "27x27"),
        (struct.pack(">4I", 2051, 1, 2**31, 2**31), "announces 1 items of"),
    ],
)
def test_wrong_image_files_are_refused(tmp_path, raw, reason):
    for path, content in ((tmp_path / "a", raw), (tmp_path / "a.gz", gzip.compress(raw))):
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            read_images(path)


def test_a_cut_or_flipped_gzip_is_refused_at_every_length(tmp_path):
    path = tmp_path / "a.gz"
    whole = gzip.compress(labels(30))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.gz"):
            read_labels(path)
    path.write_bytes(whole)
    assert len(read_labels(path)) == 30


def test_labels_out_of_range_and_mismatched_counts_are_refused(tmp_path):
    (tmp_path / "i").write_bytes(images(3))
    (tmp_path / "l").write_bytes(labels(4))
    with pytest.raises(DataError, match=r"3 images but .* 4 labels"):
        read_pair(tmp_path / "i", tmp_path / "l")
    (tmp_path / "l").write_bytes(struct.pack(">2I", 2049, 3) + bytes([0, 10, 1]))
    with pytest.raises(DataError, match="label 1 is 10"):
        read_labels(tmp_path / "l")


MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.mark.parametrize("name", MD5)
def test_the_real_mnist_streams_have_the_known_md5s(name, data_dir):
    raw = gzip.decompress((data_dir / "mnist" / f"{name}.gz").read_bytes())
    assert hashlib.md5(raw).hexdigest() == MD5[name]


def test_the_real_mnist_has_the_known_histograms_and_holds_out_5000(data_dir):
    data = load("mnist", data_dir=data_dir)
    assert (len(data.train), len(data.validate), len(data.test)) == (55_000, 5_000, 10_000)
    both = np.bincount(data.train.y) + np.bincount(data.validate.y)
    assert both.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    x, _ = data.test.batch([0])
    assert (x.shape == (1, 1, 28, 28) and x.min() >= 0 and x.max() == 255 / 256) or x.max() < 1


def test_the_real_fashion_mnist_is_the_published_one(data_dir):
    data = load("fashion_mnist", data_dir=data_dir)
    assert np.bincount(data.test.y).tolist() == [1000] * 10 and data.class_names[9] == "Ankle boot"
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        raw = (data_dir / "fashion-mnist" / f"{name}.gz").read_bytes()
        assert hashlib.md5(raw).hexdigest() == REMOTE["fashion_mnist"][name].md5


def test_training_on_a_test_part_alone_is_refused_with_the_files_it_lacks(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(images(5))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels(5))
    data = load("fashion_mnist", data_dir=tmp_path)
    assert len(data.test) == 5
    for part in ("train", "validate"):
        with pytest.raises(DataMissing, match=r"lacks train-images-idx3-ubyte\.gz.*--download"):
            getattr(data, part)
