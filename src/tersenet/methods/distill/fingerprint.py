"""Which teacher and which data: a digest, so that stored answers and half-done runs of others are not mixed in."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from tersenet.methods.distill.teachers import Function

EXAMPLES = 64
"""Compared of a data set; enough to tell one from another of its length."""


def teacher_fingerprint(teacher: nn.Module) -> str:
    """Structure as it prints, names, and the values of all tensors; of a user's function its name alone."""
    digest = hashlib.sha256(repr(teacher).encode())
    for name, module in teacher.named_modules():
        if isinstance(module, Function):
            function = module.function
            digest.update(f"{name} {getattr(function, '__qualname__', type(function).__name__)}".encode())
    tensors = {**dict(teacher.named_parameters()), **dict(teacher.named_buffers())}
    for name, tensor in tensors.items():
        digest.update(name.encode())
        _add(digest, tensor)
    return digest.hexdigest()


def inputs_fingerprint(data: Any) -> str:
    """Of data that is fetched by number: its length, its first and its last inputs; targets are not looked at."""
    digest = hashlib.sha256(str(len(data)).encode())
    if mixup := getattr(data, "mixup", 0):
        digest.update(f"mixup {mixup}".encode())  # of few mixed views none may be among those compared
    for start in sorted({0, max(len(data) - EXAMPLES, 0)}):
        _add(digest, data.batch(torch.arange(start, min(start + EXAMPLES, len(data))))[0])
    return digest.hexdigest()


def _add(digest: Any, tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
