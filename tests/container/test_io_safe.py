"""A file is there whole or not at all, whatever call fails and however."""

from __future__ import annotations

import errno
import os

import pytest

from tersenet.container import atomic_write, read_file
from tersenet.errors import TersenetError

CALLS = ("open", "write", "fsync", "replace", "close")
OLD, NEW = b"old" * 50, b"new!" * 100


class Killed(BaseException):
    """Stands for SIGINT, or for the end of the process."""


class FailingCalls:
    """Counts the calls of os.*, and lets call number `at` fail: before it takes effect, or half done."""

    def __init__(self, monkeypatch, at: int, failure, short: bool = False) -> None:
        self.at, self.failure, self.count, self.short, self.log = at, failure, 0, short, []
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name, real):
        def call(*arguments, **named):
            self.count += 1
            self.log.append(name)
            if name == "write":
                half = bytes(arguments[1])[: max(1, len(arguments[1]) // 2)] if self.short else arguments[1]
                if self.count == self.at:
                    real(arguments[0], bytes(arguments[1])[:7])
                    raise self.failure
                return real(arguments[0], half)
            if self.count == self.at:
                if name == "close":
                    real(*arguments)
                raise self.failure
            return real(*arguments, **named)

        return call


def calls_of_a_good_write(tmp_path, short: bool) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        calls = FailingCalls(patch, 0, None, short)
        atomic_write(tmp_path / "counted", NEW)
    assert (tmp_path / "counted").read_bytes() == NEW
    (tmp_path / "counted").unlink()
    return calls.log


@pytest.mark.parametrize("short", [False, True], ids=["whole writes", "short writes"])
@pytest.mark.parametrize("there", [False, True], ids=["new file", "old file"])
@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error"), Killed()],
    ids=["ENOSPC", "EIO", "killed"],
)
def test_whichever_call_fails_the_file_is_old_or_new_and_nothing_else_is_left(tmp_path, failure, there, short):
    log = calls_of_a_good_write(tmp_path, short)
    assert {"open", "write", "fsync", "replace"} <= set(log) and (log.count("write") > 1) == short
    seen = set()
    for at in range(1, len(log) + 1):
        target = tmp_path / "file.terse"
        target.unlink(missing_ok=True)
        if there:
            target.write_bytes(OLD)
        with pytest.MonkeyPatch.context() as patch:
            FailingCalls(patch, at, failure, short)
            try:
                atomic_write(target, NEW)
                ended = "done"
            except (TersenetError, Killed) as error:
                ended = str(error)
        now = target.read_bytes() if target.exists() else None
        assert now in (OLD if there else None, NEW), (at, log[at - 1])
        if "untouched" in ended:
            assert now == (OLD if there else None)
        if "is written" in ended or ended == "done":
            assert now == NEW
        assert [path for path in tmp_path.iterdir() if path != target] == [], (at, log[at - 1])
        seen.add(now)
    assert seen == {OLD if there else None, NEW}


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_what_is_written_is_read(tmp_path, size):
    atomic_write(tmp_path / "a", b"x" * size)
    assert read_file(tmp_path / "a") == b"x" * size
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["a" * 255, "\N{GRINNING FACE}" * 63], ids=["1 byte a letter", "4 bytes a letter"])
def test_the_longest_names_that_a_folder_takes_can_be_written(tmp_path, name):
    atomic_write(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_data_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path):
    log = calls_of_a_good_write(tmp_path, False)
    assert log.index("write") < log.index("fsync") < log.index("replace")
    assert "fsync" in log[log.index("replace") :]


def test_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(TersenetError, match="cannot be written"):
        atomic_write(tmp_path / "none" / "a", b"x")
    with pytest.raises(TersenetError, match="cannot be read"):
        read_file(tmp_path / "none")
    with pytest.raises(TersenetError, match="cannot be written"):
        atomic_write(tmp_path, b"x")
