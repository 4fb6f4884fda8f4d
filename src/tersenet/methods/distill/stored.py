"""A teacher's answers, asked for once and kept in a file.

READ FIRST
  1. Two files for each teacher and data set, named by a digest of both: KEY.npy, one row an example, which is mapped
     into memory and never read whole; and KEY.json, which says how many rows are done.
  2. Rows beyond that number are not to be trusted; they are written again. Labels are never looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tersenet.container import atomic_write, read_file
from tersenet.errors import TersenetError
from tersenet.methods.distill.fingerprint import inputs_fingerprint, teacher_fingerprint
from tersenet.training import IndexedData
from tersenet.training.batches import check_not_empty
from tersenet.training.layout import channels_last

SAVE_SECONDS = 10.0


def store_answers(
    teacher: nn.Module,
    data: IndexedData,
    folder: str | os.PathLike[str],
    *,
    dtype: Literal["float32", "float16"] = "float32",
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int = 256,
    device: str = "cpu",
    on_batch: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """What the teacher answers to each example, (examples, ...) of `dtype`, mapped from a file in `folder`.

    Rows that are there already are not asked for again, after an interruption neither. Answers that are not finite, or
    too large for `dtype`, are refused.

    precision   bfloat16 multiplies in half the bits; such answers are others and are kept apart
    on_batch    called with the batches done and their number
    """
    examples = check_not_empty(data, "transfer")
    teacher = teacher.eval().to(device)
    example = _ask(teacher, data, torch.arange(min(2, examples)), precision, device)
    shape = (examples, *example.shape[1:])
    key = _key(teacher, data, [*shape], dtype, precision)
    path = Path(folder) / f"{key}.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = _done(path, shape, dtype)
        rows = np.lib.format.open_memmap(path, mode="r+" if done else "w+", dtype=np.dtype(dtype), shape=shape)
    except OSError as error:
        raise TersenetError(
            f"{path}: answers cannot be kept there ({error.strerror}); choose another folder"
        ) from error
    batches, saved = -(-examples // batch_size), time.monotonic()
    try:
        while done < examples:
            stop = min(done + batch_size, examples)
            answers = _ask(teacher, data, torch.arange(done, stop), precision, device).cpu().numpy()
            _check_finite(answers, dtype, done)
            rows[done:stop] = answers
            done = stop
            if on_batch is not None:
                on_batch(-(-done // batch_size), batches)
            if time.monotonic() - saved > SAVE_SECONDS:
                _note(path, rows, done)
                saved = time.monotonic()
    finally:
        _note(path, rows, done)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


@torch.no_grad()
def _ask(teacher: nn.Module, data: IndexedData, indices: Tensor, precision: str, device: str) -> Tensor:
    x = data.batch(indices)[0].to(device)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        answers = teacher(channels_last(x))
    if not isinstance(answers, Tensor) or len(answers) != len(x):
        raise TersenetError(f"the teacher gives a {type(answers).__name__}; one tensor of answers is expected")
    return answers.float()


def _key(teacher: nn.Module, data: IndexedData, shape: list[int], dtype: str, precision: str) -> str:
    parts = [teacher_fingerprint(teacher), inputs_fingerprint(data), shape, dtype, precision]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _done(path: Path, shape: tuple[int, ...], dtype: str) -> int:
    """How many rows can be trusted."""
    note = path.with_suffix(".json")
    if not path.exists() or not note.exists():
        return 0
    try:
        done = int(json.loads(read_file(note))["rows"])
        there: Any = np.load(path, mmap_mode="r")
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise TersenetError(f"{note}: damaged ({error}); delete it to ask the teacher again") from error
    if there.shape != shape or there.dtype != np.dtype(dtype) or not 0 <= done <= shape[0]:
        raise TersenetError(f"{path}: holds other answers than its name says; delete it to ask the teacher again")
    return done


def _note(path: Path, rows: np.memmap[Any, Any], done: int) -> None:
    rows.flush()
    atomic_write(path.with_suffix(".json"), json.dumps({"rows": done, "examples": len(rows)}).encode())


def _check_finite(answers: np.ndarray, dtype: str, first: int) -> None:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(answers.astype(dtype))
    if bad.any():
        row = first + int(np.nonzero(bad.reshape(len(bad), -1).any(1))[0][0])
        raise TersenetError(
            f"the teacher's answer to example {row} is not finite as {dtype}; look for NaN weights or inputs that are "
            "not normalised" + ("" if dtype == "float32" else ", or keep answers as float32")
        )
