"""The .terse file: sections with checksums, read against a memory limit, written whole or not at all."""

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
