"""Trained weights from a file into a network, without running anything that the file holds.

.safetensors always; .pt, .pth, .th only by torch's restricted unpickler (weights_only), never by mmap,
which accepts archives that the plain reader refuses.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from tersenet.errors import TersenetError

M = TypeVar("M", bound=nn.Module)
PICKLED = (".pt", ".pth", ".th")
# What training wrappers put before each name: DataParallel, Lightning.
PREFIXES = ("module.", "model.")
# How many tensors a sentence names before it counts the rest.
NAMED = 5


class WeightsError(TersenetError):
    """A weight file that cannot be read, or is not of this network."""


def load_weights(model: M, path: str | Path) -> M:
    """Fill `model` from the file at `path`; all of it is checked before any of it is used."""
    path = Path(path)
    tensors = _strip_prefixes(read_tensors(path), model)
    tensors = dequantize(tensors, path)
    expected = model.state_dict()
    tensors = apply_masks(tensors, expected, path)
    _check_match(tensors, expected, path)
    with torch.no_grad():
        for name, target in expected.items():
            if name in tensors:
                target.copy_(tensors[name])
    return model


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The named tensors of a weight file, finite and dense, prefixes as they are."""
    path = Path(path)
    if not path.is_file():
        what = "a folder; name the weight file in it" if path.is_dir() else "no such weight file"
        raise WeightsError(f"{path}: {what}")
    if path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix in PICKLED:
        tensors = _read_pickled(path)
    else:
        raise WeightsError(
            f"{path}: weights come as .safetensors, or as {', '.join(PICKLED)}; this is {path.suffix or 'no suffix'}"
        )
    if not tensors:
        raise WeightsError(f"{path}: the file holds no tensors")
    return tensors


def dequantize(tensors: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Replace n.weight_q, n.weight_scale, n.weight_zero by n.weight = (q - zero) * scale, rows first.

    One scale and zero serve the whole tensor, or one each an output channel.
    """
    result = dict(tensors)
    for name in [name for name in tensors if name.endswith(".weight_q")]:
        layer = name.removesuffix(".weight_q")
        parts = [result.pop(f"{layer}.{part}", None) for part in ("weight_q", "weight_scale", "weight_zero")]
        level, scale, zero = parts
        if level is None or scale is None or zero is None:
            raise WeightsError(f"{path}: {layer} has weight_q but lacks weight_scale or weight_zero")
        if level.dtype not in (torch.uint8, torch.int8) or level.ndim == 0:
            raise WeightsError(f"{path}: {name} is {level.dtype}; integer weights are uint8 or int8")
        for part in (scale, zero):
            if part.numel() not in (1, level.shape[0]):
                raise WeightsError(
                    f"{path}: {layer} has {part.numel()} scales or zeros for "
                    f"{level.shape[0]} output channels; "
                    "it takes one, or one a channel"
                )
        column = (-1, *[1] * (level.ndim - 1))
        result[f"{layer}.weight"] = (level.float() - zero.float().view(column)) * scale.float().view(column)
    return result


def apply_masks(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Replace n_orig and n_mask, as torch.nn.utils.prune leaves them, by n = n_orig * n_mask, where n is expected."""
    result = dict(tensors)
    for name in [name for name in expected if f"{name}_orig" in tensors and name not in tensors]:
        original, mask = result.pop(f"{name}_orig"), result.pop(f"{name}_mask", None)
        if mask is None:
            raise WeightsError(f"{path}: {name}_orig has no {name}_mask beside it; save the whole state_dict()")
        if mask.shape != original.shape:
            raise WeightsError(f"{path}: {name}_mask is {_shape(mask)} where {_shape(original)} is expected")
        result[name] = original * mask + 0.0  # a negative weight times 0 is a negative zero
    return result


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); fetch or write it again") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except MemoryError as error:
        raise WeightsError(f"{path}: it declares tensors larger than this machine's memory") from error
    except Exception as error:  # torch lets whatever its unpickler met through: KeyError, EOFError, struct.error
        raise WeightsError(
            f"{path}: torch refuses to load it as plain weights ({_reason(error)}); "
            "save model.state_dict() alone, best as .safetensors"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: it holds a {type(loaded).__name__}; a dict of named tensors is expected")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path}: entry {str(name)[:80]!r} is a {type(tensor).__name__}, not a tensor")
        # The values of a sparse or quantized tensor are reached through indices that nothing has checked.
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise WeightsError(
                f"{path}: {name} is a {str(tensor.layout).removeprefix('torch.')} tensor; only dense ones are read"
            )
    return dict(loaded)


def _reason(error: Exception) -> str:
    """Torch's own first line advises to run the code in the file; what the file asked for says more."""
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked is not None:
        return f"it asks for {asked[1]}, which is code and not a tensor"
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def _strip_prefixes(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Drop a wrapper's prefix that every name carries, unless the network's own names carry it."""
    own = list(model.state_dict())
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            theirs = all(name.startswith(prefix) for name in tensors)
            if theirs and not all(name.startswith(prefix) for name in own):
                tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
                stripped = True
    return tensors


def _check_match(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    # A BatchNorm's count of batches is bookkeeping that many files leave out.
    missing = [n for n in expected if n not in tensors and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in tensors if n not in expected and not n.endswith("num_batches_tracked")]
    wrong = [
        f"{n} is {_shape(tensors[n])} where {_shape(expected[n])} is expected"
        for n in expected
        if n in tensors and tensors[n].shape != expected[n].shape
    ]
    complaints = [
        f"{what}: {_some(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
        if names
    ]
    if complaints:
        raise WeightsError(f"{path}: not the weights of this network; {'; '.join(complaints)}")
    for name in expected:
        if name in tensors:
            _check_values(name, tensors[name], expected[name], path)


def _check_values(name: str, tensor: Tensor, expected: Tensor, path: Path) -> None:
    if expected.is_floating_point():
        if not tensor.is_floating_point():
            raise WeightsError(f"{path}: {name} is {tensor.dtype}; a floating-point tensor is expected")
        if not bool(torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor).all()):
            raise WeightsError(f"{path}: {name} holds NaN or infinite values; train or repair the network first")
    elif tensor.is_floating_point() or tensor.is_complex():
        raise WeightsError(f"{path}: {name} is {tensor.dtype}; whole numbers ({expected.dtype}) are expected")


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
