"""Fetching a public file: into a temporary file, its checksum compared, then renamed."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tersenet.zoo.data.errors import DataError, DataMissing

CHUNK_BYTES = 1 << 20
# More than the largest file known here (CIFAR-10, 170 MB): a server that sends for ever is cut off.
MAX_BYTES = 400 << 20
TIMEOUT_S = 60


@dataclass(frozen=True)
class Remote:
    """A file at a public place, and the MD5 its publisher gives."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


def fetch(remote: Remote, folder: Path) -> Path:
    """Put `remote` into `folder`; whatever fails leaves no part of a file behind."""
    target = folder / remote.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{remote.name}.")
    except OSError as error:
        raise DataError(f"{folder}: cannot write there ({error}); give another folder with --data-dir") from error
    try:
        with os.fdopen(handle, "wb") as out:
            found = _copy(remote, out)
            out.flush()
            os.fsync(out.fileno())
        if found != remote.md5:
            raise DataError(
                f"{remote.url}: what came has MD5 {found}, {remote.md5} is expected; it was thrown away, try again"
            )
        Path(temporary).replace(target)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DataMissing(
            f"{remote.url} could not be fetched ({reason}); connect to the network, "
            f"or put the file into {folder} by hand"
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def _copy(remote: Remote, out: IO[bytes]) -> str:
    """Copy the body into `out`; its MD5 in hex."""
    # The publishers give MD5; it guards against damage, not against an attacker.
    digest, total = hashlib.md5(usedforsecurity=False), 0
    with urllib.request.urlopen(remote.url, timeout=TIMEOUT_S) as body:
        while chunk := body.read(CHUNK_BYTES):
            total += len(chunk)
            if total > MAX_BYTES:
                raise DataError(f"{remote.url}: more than {MAX_BYTES >> 20} MiB came; this is not the file expected")
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()
