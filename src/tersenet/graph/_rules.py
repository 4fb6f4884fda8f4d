"""How PyTorch operators that are not rows of the op table are said with those that are."""

from __future__ import annotations

from typing import Any

import torch

from tersenet.graph._translate import Found, Translation, keys, rule
from tersenet.ir import Parameter, Value

FxNode = torch.fx.Node


def _source(translation: Translation, node: FxNode) -> Found:
    return translation.found[node.args[0]]  # type: ignore[index]


def _value(translation: Translation, node: FxNode) -> Value | Parameter:
    return translation.tensor(node.args[0], node)


def _shapes(node: FxNode) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The sizes of the first argument and of the result."""
    return tuple(node.args[0].meta["val"].shape), tuple(node.meta["val"].shape)  # type: ignore[union-attr]


def _axis(node: FxNode, dim: int) -> int:
    rank = node.args[0].meta["val"].dim()  # type: ignore[union-attr]
    return dim + rank if dim < 0 else dim


# Aliases


@rule(
    "detach.default",
    "clone.default",
    "contiguous.default",
    "alias.default",
    "lift_fresh_copy.default",
    "lift_fresh.default",
    "positive.default",
)
def alias(translation: Translation, node: FxNode) -> Found:
    return _source(translation, node)


@rule(
    "to.dtype",
    "to.device",
    "to.dtype_layout",
    "to.other",
    "_to_copy.default",
    "type_as.default",
    "float.default",
)
def convert(translation: Translation, node: FxNode) -> Found:
    before, after = node.args[0].meta["val"].dtype, node.meta["val"].dtype  # type: ignore[union-attr]
    if before == after:
        return _source(translation, node)
    if after == torch.float32:
        return translation.emit("to_float", self=_value(translation, node))
    raise translation.refusal(node, str(node.target), f"it makes {after} of {before}; only float32 can be made")


@rule("dropout.default", "feature_dropout.default")
def dropout(translation: Translation, node: FxNode) -> Found:
    if translation.get(node, "train"):
        raise translation.refusal(node, str(node.target), "dropout is on in eval mode; pass training=self.training")
    if translation.get(node, "p") == 0:
        return _source(translation, node)
    op = str(node.target).removeprefix("aten.").partition(".")[0].rstrip("_")
    return translation.emit(op, input=_value(translation, node), p=translation.get(node, "p"))


@rule("batch_norm.default")
def batch_norm(translation: Translation, node: FxNode) -> Found:
    mean = translation.get(node, "running_mean")
    if mean is not None and translation.get(node, "training"):
        raise translation.refusal(node, str(node.target), "it trains in eval mode; pass training=self.training")
    momentum = translation.get(node, "momentum")
    if mean is not None and isinstance(found := translation.found[mean], Parameter):
        module = translation.modules.get(found.name.rpartition(".")[0])
        if module is not None and getattr(module, "momentum", momentum) is None:
            momentum = 0.1  # a cumulative average does not fit a file; PyTorch's default trains on from it
    return translation.generic(node, "batch_norm", momentum=momentum)


# Scalars, where a tensor would also do


@rule("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor")
def arithmetic(translation: Translation, node: FxNode) -> Found:
    op = str(node.target).removeprefix("aten.").partition(".")[0].rstrip("_")
    if isinstance(translation.get(node, "other"), (int, float)):
        return translation.generic(node, f"{op}_scalar")
    return translation.generic(node, op)


@rule("square.default")
def square(translation: Translation, node: FxNode) -> Found:
    given = _value(translation, node)
    return translation.emit("mul", self=given, other=given)


@rule("reciprocal.default")
def reciprocal(translation: Translation, node: FxNode) -> Found:
    return translation.emit("pow_scalar", self=_value(translation, node), exponent=-1)


@rule("clamp_min.default", "clamp_max.default")
def clamp_one_side(translation: Translation, node: FxNode) -> Found:
    side = "min" if "clamp_min" in str(node.target) else "max"
    return translation.emit("clamp", self=_value(translation, node), **{side: translation.get(node, side)})


@rule("hardtanh.default")
def hardtanh(translation: Translation, node: FxNode) -> Found:
    low, high = translation.get(node, "min_val"), translation.get(node, "max_val")
    if (low, high) == (0, 6):
        return translation.emit("relu6", self=_value(translation, node))
    return translation.emit("hardtanh", self=_value(translation, node), min_val=low, max_val=high)


@rule("selu.default")
def selu(translation: Translation, node: FxNode) -> Found:
    """elu with the two constants of Klambauer et al. 2017, arXiv:1706.02515, as PyTorch writes them."""
    return translation.emit(
        "elu",
        self=_value(translation, node),
        alpha=1.6732632423543772848170429916717,
        scale=1.0507009873554804934193349852946,
    )


@rule("celu.default")
def celu(translation: Translation, node: FxNode) -> Found:
    alpha = translation.get(node, "alpha")
    return translation.emit("elu", self=_value(translation, node), alpha=alpha, input_scale=1 / alpha)


@rule("max.other")
def maximum(translation: Translation, node: FxNode) -> Found:
    return translation.generic(node, "maximum")


@rule("min.other")
def minimum(translation: Translation, node: FxNode) -> Found:
    return translation.generic(node, "minimum")


@rule("max.dim")
def maximum_of_axis(translation: Translation, node: FxNode) -> Found:
    """The values; where the indices are read too, there is no operation for it."""
    if any(user.args[1] == 1 and user.users for user in node.users):
        raise translation.refusal(node, str(node.target), "its indices are read; only its values can be had")
    dim, keepdim = translation.get(node, "dim"), translation.get(node, "keepdim")
    return [translation.emit("amax", self=_value(translation, node), dim=(dim,), keepdim=keepdim), None]


@rule("glu.default")
def gated(translation: Translation, node: FxNode) -> Found:
    """One half times the sigmoid of the other."""
    before, after = _shapes(node)
    dim = _axis(node, translation.get(node, "dim"))
    first = _slice(translation, node, dim, 0, after[dim], before[dim])
    second = _slice(translation, node, dim, after[dim], before[dim], before[dim])
    return translation.emit("mul", self=first, other=translation.emit("sigmoid", self=second))


@rule("instance_norm.default")
def instance_norm(translation: Translation, node: FxNode) -> Found:
    """A group norm with one channel in each group."""
    if translation.get(node, "running_mean") is not None:
        raise translation.refusal(node, str(node.target), "it keeps running statistics; use BatchNorm, or none")
    scale, shift = translation.get(node, "weight"), translation.get(node, "bias")
    return translation.emit(
        "group_norm",
        input=_value(translation, node),
        num_groups=int(_shapes(node)[0][1]),
        weight=None if scale is None else translation.tensor(scale, node),
        bias=None if shift is None else translation.tensor(shift, node),
        eps=translation.get(node, "eps"),
    )


@rule("mean.default")
def mean_of_all(translation: Translation, node: FxNode) -> Found:
    return translation.generic(node, "mean")


@rule("sum.default")
def sum_of_all(translation: Translation, node: FxNode) -> Found:
    return translation.generic(node, "sum")


@rule("mm.default", "bmm.default")
def matrix_product(translation: Translation, node: FxNode) -> Found:
    second = translation.get(node, "mat2")
    return translation.emit("matmul", self=_value(translation, node), other=translation.tensor(second, node))


# Convolutions that choose their own padding


@rule("conv1d.padding", "conv2d.padding")
def conv_padding(translation: Translation, node: FxNode) -> Found:
    """As ATen does it: pad by the difference of the two sides first, then symmetrically in the
    convolution.
    """
    op = str(node.target).removeprefix("aten.").partition(".")[0]
    kernel = tuple(int(size) for size in node.args[1].meta["val"].shape[2:])  # type: ignore[union-attr]
    dilation = tuple(translation.get(node, "dilation"))
    dilation = dilation * len(kernel) if len(dilation) == 1 else dilation
    padding = [0] * len(kernel)
    given = _value(translation, node)
    if translation.get(node, "padding") == "same":
        totals = [step * (size - 1) for step, size in zip(dilation, kernel)]
        padding = [total // 2 for total in totals]
        extra = [total % 2 for total in totals]
        if any(extra):
            sides = [side for more in reversed(extra) for side in (0, more)]
            given = translation.emit("pad", self=given, pad=sides)
    return translation.generic(node, op, input=given, padding=tuple(padding))


# Shapes


@rule(
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "view_as.default",
    "reshape_as.default",
    "flatten.using_ints",
    "unflatten.int",
)
def reshape(translation: Translation, node: FxNode) -> Found:
    """flatten where neighbours are merged, reshape elsewhere; the batch becomes 0, or -1 where it moves."""
    before, after = _shapes(node)
    old, new = keys(before), keys(after)
    if old == new:
        return _source(translation, node)
    merged = len(old) - len(new)
    for start in range(len(new)) if merged > 0 else ():
        stop = start + merged + 1
        if old[:start] == new[:start] and old[stop:] == new[start + 1 :]:
            end = -1 if stop == len(old) else stop - 1
            return translation.emit("flatten", self=_value(translation, node), start_dim=start, end_dim=end)
    shape = []
    for axis, size in enumerate(after):
        if isinstance(size, int):
            shape.append(size)
        elif axis < len(old) and old[axis] == new[axis]:
            shape.append(0)
        else:
            shape.append(-1)
    if shape.count(-1) > 1 or (0 in after and -1 in shape):
        raise translation.refusal(node, str(node.target), "the batch is in more than one axis of the new shape")
    return translation.emit("reshape", self=_value(translation, node), shape=shape)


@rule("expand.default", "expand_as.default", "repeat.default", "broadcast_to.default")
def expand(translation: Translation, node: FxNode) -> Found:
    before, after = _shapes(node)
    if keys(before) == keys(after):
        return _source(translation, node)
    lead = len(after) - len(before)
    size = []
    for axis, (wanted, key) in enumerate(zip(after, keys(after))):
        source = keys(before)[axis - lead] if axis >= lead else None
        if source == key:
            size.append(-1)
        elif source not in (None, 1):
            raise translation.refusal(node, str(node.target), "it repeats an axis that is longer than 1")
        elif isinstance(wanted, int):
            size.append(wanted)
        elif translation.is_batch(wanted):
            size.append(0)
        else:
            raise translation.refusal(node, str(node.target), "a new size is computed from the batch")
    return translation.emit("expand", self=_value(translation, node), size=size)


@rule(
    "zeros.default",
    "ones.default",
    "full.default",
    "new_zeros.default",
    "new_ones.default",
    "new_full.default",
    "zeros_like.default",
    "ones_like.default",
    "full_like.default",
)
def filled(translation: Translation, node: FxNode) -> Found:
    """One number of the right type, spread; the batch in its shape is why it was not computed at once."""
    val = node.meta["val"]
    kind = str(node.target)
    number = 0 if "zeros" in kind else 1 if "ones" in kind else translation.get(node, "fill_value")
    one = torch.full((1,) * val.dim(), number, dtype=val.dtype)
    if all(isinstance(size, int) for size in val.shape):
        return one.expand(val.shape)
    size = []
    for wanted in val.shape:
        if not isinstance(wanted, int) and not translation.is_batch(wanted):
            raise translation.refusal(node, kind, "a size is computed from the batch")
        size.append(wanted if isinstance(wanted, int) else 0)
    # An axis of 1 stays as it is: expand writes that as -1.
    return translation.emit("expand", self=translation.store(one), size=[-1 if one == 1 else one for one in size])


@rule("squeeze.dim", "squeeze.dims", "squeeze.default")
def squeeze(translation: Translation, node: FxNode) -> Found:
    before, _ = _shapes(node)
    given = translation.get(node, "dim")
    axes = range(len(before)) if given is None else [given] if isinstance(given, int) else given
    single = [
        axis for axis in sorted(_axis(node, one) for one in axes) if isinstance(before[axis], int) and before[axis] == 1
    ]
    if not single:
        return _source(translation, node)
    return translation.emit("squeeze", self=_value(translation, node), dim=single)


@rule("t.default", "mT.default", "numpy_T.default", "swapaxes.default", "swapdims.default")
def transpose(translation: Translation, node: FxNode) -> Found:
    rank = len(_shapes(node)[0])
    if "swap" in str(node.target):
        first, second = node.args[1], node.args[2]
    elif "mT" in str(node.target):
        first, second = -2, -1
    elif rank == 2:
        first, second = 0, 1
    elif rank < 2:
        return _source(translation, node)
    else:
        return translation.emit("permute", self=_value(translation, node), dims=range_tuple(rank))
    return translation.emit("transpose", self=_value(translation, node), dim0=first, dim1=second)


def range_tuple(rank: int) -> tuple[int, ...]:
    return tuple(range(rank - 1, -1, -1))


@rule("movedim.int")
def move_axis(translation: Translation, node: FxNode) -> Found:
    rank = len(_shapes(node)[0])
    source, destination = _axis(node, node.args[1]), _axis(node, node.args[2])  # type: ignore[arg-type]
    dims = [axis for axis in range(rank) if axis != source]
    dims.insert(destination, source)
    return translation.emit("permute", self=_value(translation, node), dims=dims)


# Pieces


def _slice(translation: Translation, node: FxNode, dim: int, start: int, end: int, size: int) -> Value | Parameter:
    """The part [start, end) of an axis, ends left out where they are the axis's own."""
    given = _value(translation, node)
    if start == 0 and end == size:
        return given
    sliced = translation.emit(
        "slice", self=given, dim=dim, start=None if start == 0 else start, end=None if end == size else end
    )
    assert isinstance(sliced, Value)
    return sliced


@rule("slice.Tensor")
def slice_axis(translation: Translation, node: FxNode) -> Found:
    before, after = _shapes(node)
    dim = _axis(node, translation.get(node, "dim"))
    step = translation.get(node, "step")
    if keys(before) == keys(after) and step == 1:
        return _source(translation, node)
    size = before[dim]
    start, end = translation.get(node, "start") or 0, translation.get(node, "end")
    if not isinstance(size, int):
        return translation.generic(node, "slice", end=None if isinstance(end, int) and end > 2**61 else end)
    if not isinstance(start, int) or not isinstance(end, (int, type(None))):
        raise translation.refusal(node, str(node.target), "its ends depend on the batch size")
    start, end, _ = slice(start, end).indices(size)
    if step == 1:
        return _slice(translation, node, dim, start, end, size)
    return translation.generic(
        node, "slice", dim=dim, start=None if start == 0 else start, end=None if end == size else end
    )


@rule("narrow.default")
def narrow(translation: Translation, node: FxNode) -> Found:
    before, _ = _shapes(node)
    dim, start, length = _axis(node, node.args[1]), node.args[2], node.args[3]  # type: ignore[arg-type]
    if not all(isinstance(one, int) for one in (start, length, before[dim])):
        raise translation.refusal(node, str(node.target), "its ends depend on the batch size")
    return _slice(translation, node, dim, start, start + length, before[dim])  # type: ignore[arg-type, operator]


@rule(
    "chunk.default",
    "split.Tensor",
    "split.sizes",
    "split_with_sizes.default",
    "tensor_split.sections",
    "tensor_split.indices",
)
def split(translation: Translation, node: FxNode) -> Found:
    """One slice per part that is read."""
    before, _ = tuple(node.args[0].meta["val"].shape), None  # type: ignore[union-attr]
    dim = _axis(node, translation.get(node, "dim"))
    if not isinstance(before[dim], int):
        raise translation.refusal(node, str(node.target), "it splits the batch")
    parts, start = [], 0
    for part in node.meta["val"]:
        length = int(part.shape[dim])
        parts.append(_slice(translation, node, dim, start, start + length, before[dim]))
        start += length
    return parts


@rule("unbind.int")
def unbind(translation: Translation, node: FxNode) -> Found:
    dim = _axis(node, translation.get(node, "dim"))
    given = _value(translation, node)
    return [translation.emit("select", self=given, dim=dim, index=index) for index in range(len(node.meta["val"]))]
