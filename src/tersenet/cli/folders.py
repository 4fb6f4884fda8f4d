"""Whether what is to be written can be written, found out before hours of work."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from tersenet.errors import TersenetError

# Stages at four bytes a weight and two checkpoints with an optimiser's two moments, about.
COPIES = 8


def check_file(path: Path) -> None:
    """Refuse a file that could not be put at `path`."""
    if path.is_dir():
        raise TersenetError(f"{path} is a folder; give the name of a file")
    check_folder(path.absolute().parent)


def check_folder(folder: Path, *, make: bool = False) -> None:
    """Refuse a folder in which no file can be made; with `make`, make it first."""
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".tersenet.{secrets.token_hex(6)}.tmp"
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # A full disk makes empty files, so one byte goes through to it.
            os.write(descriptor, b"\0")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            probe.unlink()
    except OSError as error:
        raise TersenetError(
            f"{folder}: no file can be written there ({error.strerror}); choose another place"
        ) from error


def check_room(folder: Path, weight_bytes: int) -> None:
    """Refuse a run folder on a disk without room for stages and checkpoints."""
    free = shutil.disk_usage(folder).free
    needed = COPIES * weight_bytes
    if free < needed:
        raise TersenetError(
            f"{folder}: the run can need {needed:,} bytes for stages and checkpoints, {free:,} are free; choose another --run-dir"
        )
