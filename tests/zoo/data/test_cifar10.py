"""CIFAR-10 in its three forms: all give the same pixels; pickles are read without running anything."""

import hashlib
import io
import pickle
import pickletools
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.zoo import load
from tersenet.zoo.data import DataError, DataMissing
from tersenet.zoo.data.cifar10 import FORMS, decode_binary, read_npz
from tersenet.zoo.data.cifar_pickle import read_batch

# Of the decoded pixels, from the folder's own list.
SHA256 = {
    "cifar10-test": "38dc21d0c7f8a223a5465cd6f6c56008996e3b81ef8df5b8bbf5c464139f4c53",
    "cifar10-train-0": "526b29b8aa9f2939707caa6f4356338441269eb36f851643d3c482479d3797bc",
    "cifar10-train-1": "0534486cced3fb14a184eea845b7c2f08f1d33cad5415182a888483a587e79a4",
    "cifar10-train-2": "06b6a8a2ef4f64550ff6070baef8d1168582ff2cc8edb144a6b711bed59b8161",
    "cifar10-train-3": "c662a0cd16e00ddad2860aece8263da189d41d49c997c5f92b3c802f8214c866",
    "cifar10-train-4": "9a30b71a6a106840fd8e0fb3be2327c46988e6ba4bb07bfbd08267ee6111a5f1",
}


def batch(seed: int, n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (n, 3, 32, 32)).astype(np.uint8), random.randint(0, 10, n)


def as_binary(x, y) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(x, y, strict=True))


def as_python2(x, y, *, data: bytes | None = None) -> bytes:
    """The opcodes that Python 2 and numpy 1 wrote: the published files' form, by hand."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    raw = x.tobytes() if data is None else data
    names = b"".join(text(b"img_%d.png" % i) for i in range(len(x)))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05"
        b"K\x00\x85q\x06U\x01bq\x07\x87q\x08Rq\x09(K\x01M"
        + struct.pack("<H", len(x))
        + b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([int(label)]) for label in y) + b"e"
    fields = [
        text(b"data") + array,
        text(b"labels") + labels,
        text(b"batch_label") + text(b"training batch 1 of 5"),
        text(b"filenames") + b"](" + names + b"e",
    ]
    return b"\x80\x02}q\x01(" + b"".join(fields) + b"u."


def as_npz(x, y) -> bytes:
    color = x.copy()
    color[:, [0, 2]] -= x[:, 1:2]
    delta = np.diff(np.diff(color, axis=3, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))
    out = io.BytesIO()
    np.savez_compressed(out, delta=delta.astype(np.uint8), labels=y.astype(np.uint8))
    return out.getvalue()


WRITE = {"npz": as_npz, "binary": as_binary, "python": as_python2}


def write_all(folder, form):
    train, test = FORMS[form]
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate((*train, *test)):
        (folder / name).write_bytes(WRITE[form](*batch(seed)))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels_and_holds_out_a_tenth(form, tmp_path):
    write_all(tmp_path / "cifar10", form)
    data = load("cifar10", data_dir=tmp_path)
    assert (len(data.train), len(data.validate), len(data.test)) == (54, 6, 12)
    x, y = batch(5)
    assert (data.test.x == x).all() and (data.test.y == y).all()
    seen = {image.tobytes() for split in (data.train, data.validate) for image in split.x}
    assert seen == {image.tobytes() for seed in range(5) for image in batch(seed)[0]}


@pytest.mark.parametrize("form", ["binary", "python"])
def test_the_published_archives_are_read_unpacked_or_not(form, tmp_path):
    write_all(tmp_path / "plain", form)
    folder = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[form]
    with tarfile.open(tmp_path / f"cifar-10-{form}.tar.gz", "w:gz") as tar:
        for path in (tmp_path / "plain").iterdir():
            tar.add(path, f"{folder}/{path.name}")
    packed, plain = load("cifar10", data_dir=tmp_path), load("cifar10", data_dir=tmp_path / "plain")
    assert packed.train.x.tobytes() == plain.train.x.tobytes() and (packed.test.y == plain.test.y).all()
    whole = (tmp_path / f"cifar-10-{form}.tar.gz").read_bytes()
    (tmp_path / f"cifar-10-{form}.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"tar\.gz: cut or damaged"):
        load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_todays_python_and_numpy_write_is_read_too(protocol):
    x, y = batch(0)
    content = {b"data": x.reshape(12, -1), b"labels": y.tolist(), b"filenames": [b"a.png"] * 12}
    try:
        gx, gy = read_batch(pickle.dumps(content, protocol), "f")
    except DataError as error:  # protocol 5 may hand the array over in an opcode the published files lack
        assert protocol == 5 and "refused" in str(error)
        return
    assert (gx == x).all() and (gy == y).all()


class Trap:
    fired = False

    def __reduce__(self):
        return (setattr, (Trap, "fired", True))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_wants_to_run_something_is_refused_and_does_not_run(protocol):
    raw = pickle.dumps({b"data": Trap()}, protocol)
    with pytest.raises(DataError, match="refused"):
        read_batch(raw, "f")
    assert not Trap.fired
    pickle.loads(raw)
    assert Trap.fired  # the trap can fire
    Trap.fired = False


OPS = [op for op in pickletools.opcodes if op.name not in ("PERSID", "BINPERSID")]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPS), st.binary(max_size=6)), max_size=12), st.booleans())
def test_hostile_pickles_are_data_errors(parts, stop):
    raw = b"".join(op.code.encode("latin-1") + argument for op, argument in parts) + (b"." if stop else b"")
    with pytest.raises(DataError):
        read_batch(raw, "f")


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_of_a_batch_gives_a_batch_or_a_data_error(position, value):
    x, y = batch(1, 2)
    raw = bytearray(as_python2(x, y))
    # Most of the file is pixels; the structure around them is where damage hurts.
    at = position % 400 if position % 2 else len(raw) - 1 - position % 120
    raw[at] = value
    try:
        gx, gy = read_batch(bytes(raw), "f")
    except DataError:
        return
    assert gx.shape == (len(gy), 3, 32, 32) and ((gy >= 0) & (gy <= 9)).all()


def test_a_batch_whose_array_is_shorter_than_its_shape_is_refused():
    x, y = batch(0)
    with pytest.raises(DataError, match="bytes for it"):
        read_batch(as_python2(x, y, data=b"123"), "f")
    for length in range(0, 300, 7):
        with pytest.raises(DataError):
            read_batch(as_python2(x, y)[:length], "f")


@pytest.mark.parametrize("raw", [b"", b"\0" * 3072, b"\0" * 3074, b"\x0a" + b"\0" * 3072])
def test_wrong_binary_batches_are_refused(raw):
    with pytest.raises(DataError, match=r"records of 3073|label 0 is 10"):
        decode_binary(raw, "f")


def test_wrong_npz_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    x, y = batch(0)
    cases = {
        "not a readable": as_npz(x, y)[:2000],
        "lacks labels.npy": None,
        r"delta is uint8 \(12, 3, 32, 31\)": None,
        r"label \d+ is 10": as_npz(x, y + 10 * (y == y[3]) - y[3] * (y == y[3])),
        r"labels \(11,\)": as_npz(x, y[:11]),
    }
    for reason, raw in cases.items():
        if raw is not None:
            path.write_bytes(raw)
        elif "lacks" in reason:
            np.savez(path, delta=x)
        else:
            np.savez(path, delta=x[..., 1:], labels=y)
        with pytest.raises(DataError, match=reason):
            read_npz(path)
    np.savez(path, delta=np.array([print]), labels=y)
    with pytest.raises(DataError, match="not a readable"):  # an object array is a pickle
        read_npz(path)


def test_a_missing_batch_leaves_the_test_part(tmp_path):
    write_all(tmp_path, "binary")
    (tmp_path / "data_batch_3.bin").unlink()
    data = load("cifar10", data_dir=tmp_path)
    assert len(data.test) == 12
    with pytest.raises(DataMissing, match=r"lacks one of .*data_batch_3\.bin"):
        _ = data.train


@pytest.mark.parametrize("name", SHA256)
def test_the_real_pixels_have_the_known_hashes_and_classes(name, data_dir):
    x, y = read_npz(data_dir / "cifar10" / f"{name}.npz")
    assert hashlib.sha256(x.tobytes()).hexdigest() == SHA256[name]
    assert len(y) == 10_000
    if name == "cifar10-test":
        assert np.bincount(y).tolist() == [1000] * 10


def test_the_real_training_set_has_the_published_mean_and_std(data_dir):
    data = load("cifar10", data_dir=data_dir, parts=("train", "validate"))
    assert (len(data.train), len(data.validate)) == (45_000, 5_000)
    assert (np.bincount(data.train.y) + np.bincount(data.validate.y)).tolist() == [5000] * 10
    counts = sum(
        np.stack([np.bincount(split.x[:, c].ravel(), minlength=256) for c in range(3)])
        for split in (data.train, data.validate)
    )
    level = np.arange(256) / 255
    mean = counts @ level / counts.sum(1)
    np.testing.assert_allclose(mean, [0.49139968, 0.48215841, 0.44653091], atol=1e-7)
    std = np.sqrt(counts @ level**2 / counts.sum(1) - mean**2)
    np.testing.assert_allclose(std, [0.24703223, 0.24348513, 0.26158784], atol=1e-7)
    with pytest.raises(DataMissing, match="not asked for"):
        _ = data.test
