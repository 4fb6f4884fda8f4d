"""Text as tokens: each target is the token after its input, parts do not overlap, wrong text is refused."""

import hashlib

import numpy as np
import pytest

from tersenet.zoo import load
from tersenet.zoo.data import DataError
from tersenet.zoo.data.split import IGNORED


def test_targets_are_the_following_characters_and_parts_follow_each_other(tmp_path):
    text = "".join(chr(97 + i * i % 23) for i in range(5000))
    (tmp_path / "tinyshakespeare.txt").write_text(text)
    data = load("tinyshakespeare", data_dir=tmp_path)
    starts = {"train": 0, "validate": 4500, "test": 4750}
    for part, start in starts.items():
        split = data.splits[part]
        count = split.x.size
        assert "".join(data.class_names[i] for i in split.x.ravel()) == text[start : start + count]
        assert "".join(data.class_names[i] for i in split.y.ravel()) == text[start + 1 : start + count + 1]


def test_wrong_text_is_refused(tmp_path):
    path = tmp_path / "tinyshakespeare.txt"
    for content, reason in (
        (b"", "too few"),
        (b"a" * 100, "too few"),
        (b"\xff" * 5000, "not readable as text"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason):
            load("tinyshakespeare", data_dir=tmp_path)


def test_padding_is_read_as_a_token_and_ignored_as_a_target(tmp_path):
    real = np.array([[1, 5, 6, -1], [1, 2, 3, 4]], np.int16)
    np.savez(tmp_path / "eval_tokens.npz", tinystories_real=real, self_sampled=np.ones((8, 3), np.int16))
    data = load("stories", data_dir=tmp_path)
    assert data.test.x.tolist() == [[1, 5, 6], [1, 2, 3]]
    assert data.test.y.tolist() == [[5, 6, IGNORED], [2, 3, 4]]
    assert (len(data.train), len(data.validate)) == (7, 1)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"self_sampled": np.ones((8, 3), np.int16)}, "lacks the array tinystories_real"),
        ({"self_sampled": np.ones((8, 3)), "tinystories_real": np.ones((2, 3), int)}, "whole numbers"),
        ({"self_sampled": np.full((8, 3), 512), "tinystories_real": np.ones((2, 3), int)}, "to 511"),
        ({"self_sampled": np.full((8, 3), -2), "tinystories_real": np.ones((2, 3), int)}, "from -1"),
        ({"self_sampled": np.array([print]), "tinystories_real": np.ones((2, 3), int)}, "not a readable"),
    ],
)
def test_wrong_tokens_are_refused(arrays, reason, tmp_path):
    np.savez(tmp_path / "eval_tokens.npz", **arrays)
    with pytest.raises(DataError, match=reason):
        load("stories", data_dir=tmp_path)


def test_the_real_shakespeare_is_the_published_text(data_dir):
    raw = (data_dir / "text/tinyshakespeare.txt").read_bytes()
    assert hashlib.sha256(raw).hexdigest().startswith("86c4e6aa9db7c042ec79f339dcb96d42")
    data = load("tinyshakespeare", data_dir=data_dir)
    assert data.classes == 65 and data.train.x.shape == (len(raw) * 90 // 100 // 128, 128)
