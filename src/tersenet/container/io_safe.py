"""Files that are never half written: a temporary file beside the target, flushed, then renamed over it."""

from __future__ import annotations

import os
from pathlib import Path

from tersenet.errors import TersenetError


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Put `data` at `path` so that a crash leaves the old file or the new one, never a part.

    Temporary file in the same folder, fsync, rename, fsync of the folder (Pillai et al. 2014, OSDI).
    Raises TersenetError where the folder is missing, read-only or full.
    """
    import secrets  # with hashlib behind it, 5 ms that a reader need not wait for

    target = Path(path)
    # The beginning of the name says whose it is; 32 characters take 128 bytes at most, and a name may take 255.
    temporary = target.with_name(f".{target.name[:32]}.{secrets.token_hex(6)}.tmp")
    try:
        try:
            _write_through(temporary, data)
            os.replace(temporary, target)  # noqa: PTH105 - beside open, write and fsync, so that tests can fail each
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TersenetError(
            f"{target}: cannot be written ({error.strerror}); what was there before is untouched"
        ) from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise TersenetError(
            f"{target}: is written, but its folder could not be flushed ({error.strerror}); "
            "a loss of power now may bring the old file back"
        ) from error


def _write_through(path: Path, data: bytes) -> None:
    """A new file with these bytes, on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system allows a folder to be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file, or a TersenetError that says why there are none."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise TersenetError(f"{path}: cannot be read ({error.strerror})") from error
