"""Where a run of training stands, in a file that is whole or not there, without pickle.

READ FIRST
  1. Bytes: MAGIC, CRC-32 of all that follows (4), length of the JSON (8), JSON, safetensors; little-endian.
  2. The last two are kept: before `x` is written it becomes `x.old`. A damaged `x` is set aside for `x.old`.
  3. A checkpoint belongs to one run. Its fingerprint must equal that of the run that reads it.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tersenet.container.io_safe import atomic_write, read_file
from tersenet.training.errors import CheckpointError

MAGIC = b"terseck\x01"
CHECKSUM_END = len(MAGIC) + 4
HEADER_BYTES = CHECKSUM_END + 8


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """tensors by name, and everything else as JSON."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


def older(path: Path) -> Path:
    """Where the checkpoint before the newest one is kept."""
    return path.with_name(path.name + ".old")


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the newest checkpoint and keep the one before."""
    text = json.dumps(checkpoint.values).encode()
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in checkpoint.tensors.items()}
    body = len(text).to_bytes(8, "little") + text + save_tensors(copies)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(older(path))
    atomic_write(path, MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)


def load(path: Path, fingerprint: Mapping[str, Any]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there is none. One of another run is refused."""
    damaged: list[str] = []
    for candidate in (path, older(path)):
        if not candidate.exists():
            continue
        try:
            found = _read(candidate)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        _check_fingerprint(candidate, found.values["fingerprint"], fingerprint)
        if damaged:
            path.unlink()  # else the next save would put it over the whole one
        return found
    if damaged:
        raise CheckpointError(f"{'; '.join(damaged)}; delete the checkpoint to start anew")
    return None


def _read(path: Path) -> Checkpoint:
    data = read_file(path)
    if data[: len(MAGIC)] != MAGIC:
        raise CheckpointError(f"{path}: this is not a checkpoint of this version")
    body = memoryview(data)[CHECKSUM_END:]
    if zlib.crc32(body) != int.from_bytes(data[len(MAGIC) : CHECKSUM_END], "little"):
        raise CheckpointError(f"{path}: the checkpoint is damaged, its checksum does not match")
    length = int.from_bytes(data[CHECKSUM_END:HEADER_BYTES], "little")
    try:
        values = json.loads(data[HEADER_BYTES : HEADER_BYTES + length])
        tensors = load_tensors(data[HEADER_BYTES + length :])
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path}: the checkpoint is not readable ({error})") from error
    return Checkpoint(tensors=tensors, values=values)


def _check_fingerprint(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    # Through JSON, so that tuples and lists compare as what the file makes of them.
    expected = json.loads(json.dumps(expected))
    if found == expected:
        return
    differences = [
        f"{name} is {_short(found.get(name))} there and {_short(expected.get(name))} here"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
    raise CheckpointError(
        f"{path}: the checkpoint is of another run: {'; '.join(differences[:4])}; "
        "ask for the same run again, or delete the checkpoint, or name another"
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
