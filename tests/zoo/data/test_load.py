"""Laws of finding data: order of the places, sentences for what is not there, nothing half fetched."""

import hashlib
import io
import urllib.error
import urllib.request

import numpy as np
import pytest

from tersenet.zoo import load
from tersenet.zoo.data import DATASETS, DataError, DataMissing, UnknownData, download
from tersenet.zoo.data.download import Remote, fetch


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data anywhere: TERSENET_DATA unset, an empty home."""
    monkeypatch.delenv("TERSENET_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path


FROM_FILES = [name for name in DATASETS if not name.startswith("digits")]


@pytest.mark.parametrize("name", FROM_FILES)
def test_absent_data_says_what_was_looked_for_where_and_what_to_do(name, nowhere):
    with pytest.raises(DataMissing) as error:
        load(name, data_dir=nowhere / "given")
    sentence = str(error.value)
    for part in (name, str(nowhere / "given"), ".cache", "--data-dir", "TERSENET_DATA", "looked for"):
        assert part in sentence
    assert ("--download" in sentence) == DATASETS[name].fetchable and "\n" not in sentence


def test_unknown_names_and_parts_are_refused():
    with pytest.raises(UnknownData, match=r"folder:PATH; did you mean mnist"):
        load("mnst")
    with pytest.raises(UnknownData, match=r"folder:PATH; known are cifar10, .*tinyshakespeare$"):
        load("zzz")
    with pytest.raises(DataError, match="train, validate, test"):
        load("digits", parts=("tests",))
    with pytest.raises(DataError, match="train, validate, test"):
        load("digits", parts=())


def write_text(folder, letter):
    folder.mkdir(parents=True)
    (folder / "tinyshakespeare.txt").write_text(f"{letter} " * 3000)


def test_the_folder_given_wins_over_the_variable_and_that_over_the_cache(nowhere, monkeypatch):
    monkeypatch.setenv("TERSENET_DATA", str(nowhere / "variable"))
    write_text(nowhere / "home/.cache/tersenet/text", "c")
    assert load("tinyshakespeare").class_names == (" ", "c")
    write_text(nowhere / "variable", "v")
    assert load("tinyshakespeare").class_names == (" ", "v")
    write_text(nowhere / "given/text", "g")
    assert load("tinyshakespeare", data_dir=nowhere / "given").class_names == (" ", "g")
    assert load("tinyshakespeare", data_dir=nowhere / "given/text").class_names == (" ", "g")


class Body(io.BytesIO):
    """What urlopen returns."""


def served(monkeypatch, content: bytes | Exception):
    def urlopen(url, timeout):
        if isinstance(content, Exception):
            raise content
        return Body(content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def test_a_fetched_file_is_checked_and_then_there(tmp_path, monkeypatch):
    served(monkeypatch, b"pixels")
    remote = Remote("https://example.org/a/data.gz", hashlib.md5(b"pixels").hexdigest())
    assert fetch(remote, tmp_path / "new").read_bytes() == b"pixels"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["data.gz"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"damaged", "MD5"),
        (urllib.error.URLError("no route to host"), r"could not be fetched \(no route to host\).*by hand"),
        (TimeoutError("timed out"), "timed out"),
        (b"x" * 100, "more than"),
    ],
)
def test_a_failed_fetch_leaves_nothing_behind_and_what_was_there_alone(content, reason, tmp_path, monkeypatch):
    served(monkeypatch, content)
    monkeypatch.setattr(download, "MAX_BYTES", 50)
    (tmp_path / "data.gz").write_bytes(b"old")
    with pytest.raises(DataError, match=reason):
        fetch(Remote("https://example.org/data.gz", "0" * 32), tmp_path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("data.gz", b"old")]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_without_a_network_download_is_a_sentence(name, nowhere, monkeypatch):
    served(monkeypatch, urllib.error.URLError("no route to host"))
    with pytest.raises(DataMissing, match="could not be fetched"):
        load(name, data_dir=nowhere / "given", download=True)


def test_digits_need_no_files_and_fall_into_three_parts_that_share_nothing(nowhere):
    data = load("digits")
    sizes = [len(data.train), len(data.validate), len(data.test)]
    assert sizes == [1295, 143, 359] and data.input_shape == (1, 8, 8) and data.classes == 10
    x, _ = data.train.batch(range(1295))
    assert x.min() == 0 and x.max() == 1
    histogram = sum(np.bincount(split.y, minlength=10) for split in data.splits.values())
    assert histogram.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits28_are_the_same_digits_grown_inside_a_border():
    small, large = load("digits").test, load("digits28").test
    assert large.x.shape == (359, 1, 28, 28) and (small.y == large.y).all()
    inner = large.x[:, :, 4:24, 4:24]
    assert large.x.sum() == inner.sum() and inner.max() == 255
    # 8x8 to 20x20 keeps the mean ink, but for what the border rows repeat.
    assert abs(np.corrcoef(small.x.mean((1, 2, 3)), inner.mean((1, 2, 3)))[0, 1]) > 0.99
    # A constant stays one: 16 of 16 is 255.
    full = np.argwhere((small.x[:, 0, :2, :2] == 16).all((1, 2)))
    assert all(large.x[i, 0, 4, 4] == 255 for i in full.ravel())
