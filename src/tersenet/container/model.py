"""What a file holds: a graph, a storage tree for each of its tensors, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tersenet.errors import TersenetError
from tersenet.ir import Graph
from tersenet.storage import Storage


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network with its weights in storage.

    tensors      a storage tree for each name in graph.parameters, in that order
    provenance   recipe, library version, seed, scores: JSON-like, or None
    """

    graph: Graph
    tensors: dict[str, Storage]
    provenance: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if list(self.tensors) != list(self.graph.parameters):
            raise TersenetError(
                f"the graph declares tensors {', '.join(self.graph.parameters)}; stored are {', '.join(self.tensors)}"
            )
        for name, dtype in self.graph.parameters.items():
            wanted = "float" if "float" in dtype else "int"
            if self.tensors[name].kind != wanted:
                raise TersenetError(f"tensor '{name}' is declared {dtype} but stored as {self.tensors[name].kind}")

    @property
    def decoded_bytes(self) -> int:
        """The bytes of all tensors when decoded to four-byte numbers."""
        return sum(4 * tensor.numel for tensor in self.tensors.values())
