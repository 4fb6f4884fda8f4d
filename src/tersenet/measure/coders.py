"""What a file's weights would take under each coder. Needs no torch."""

from __future__ import annotations

from tersenet.coding import CODERS
from tersenet.container import Model
from tersenet.container.file import tensor_bytes


def coder_bytes(model: Model) -> dict[str, dict[str, int]]:
    """Bytes of each tensor's storage by coder, as it is laid out: tensor -> coder -> bytes.

    Layouts were chosen for the file's own coder, so another one might take somewhat less with another layout. A stream
    that is smaller raw is counted raw, as in a file.
    """
    return {name: {coder: tensor_bytes(tree, coder) for coder in CODERS} for name, tree in model.tensors.items()}
