"""The .terse file: sections with checksums, read against a memory limit, written whole or not at all."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tersenet.container.dense import decode_dense, read_dense
    from tersenet.container.file import Contents, Row, decode, default_limit, encode, read, with_graph, write
    from tersenet.container.io_safe import atomic_write, read_file
    from tersenet.container.model import Model

__all__ = [
    "Contents",
    "Model",
    "Row",
    "atomic_write",
    "decode",
    "decode_dense",
    "default_limit",
    "encode",
    "read",
    "read_dense",
    "read_file",
    "with_graph",
    "write",
]

# Loaded on first use (PEP 562): the runtime needs io_safe alone, and reads files in C++.
_MODULES = {
    "dense": ("decode_dense", "read_dense"),
    "file": ("Contents", "Row", "decode", "default_limit", "encode", "read", "with_graph", "write"),
    "io_safe": ("atomic_write", "read_file"),
    "model": ("Model",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            found = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
