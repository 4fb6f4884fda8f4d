"""Which kernels were fastest for a file on this machine, kept so that opening it again measures nothing.

One small JSON file for each key in the folder that TERSENET_CACHE names, by default tersenet/kernels in the user's
cache folder; TERSENET_CACHE set to nothing keeps none. What cannot be read or written is measured again: a cache is
never the reason that a network does not open.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import tersenet._core as _core
from tersenet.container import io_safe

# The header holds the length and the checksum of each section, so that it stands for the whole file.
HEADER_BYTES = 16 + 12 * 16 + 4
MAX_CACHE_BYTES = 1 << 24


def folder() -> Path | None:
    """Where choices are kept, or None."""
    named = os.environ.get("TERSENET_CACHE")
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "tersenet" / "kernels"
    except RuntimeError:  # no home
        return None


def key(data: bytes, *, threads: int, batch: int, int8: bool = False) -> str:
    """What a choice depends on: the file, the CPU and the column of kernels, threads, batch, arithmetic."""
    import hashlib  # 4 ms that an import of the runtime need not wait for

    about = json.dumps([_core.cpu_target(), _cpu_model(), threads, batch, _core_size(), *(["int8"] if int8 else [])])
    return hashlib.sha256(data[:HEADER_BYTES] + about.encode()).hexdigest()[:32]


def load(name: str) -> dict[str, str]:
    """Weight -> kernel, empty where nothing is known."""
    where = folder()
    if where is None:
        return {}
    try:
        path = where / f"{name}.json"
        if path.stat().st_size > MAX_CACHE_BYTES:
            return {}
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not all(isinstance(kernel, str) for kernel in found.values()):
        return {}
    return found


def store(name: str, kernels: dict[str, str]) -> None:
    """Keep a choice; where that is not possible, nothing happens."""
    where = folder()
    if where is None:
        return
    try:
        where.mkdir(parents=True, exist_ok=True)
        io_safe.atomic_write(where / f"{name}.json", json.dumps(kernels).encode())
    except (OSError, ValueError):
        return


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        import platform  # where there is no such file only

        return platform.processor()


def _core_size() -> int:
    """Changes with the build, as its kernels do."""
    return Path(_core.__file__).stat().st_size
