"""The fixed list of operations that a file may name, each with its code and its arguments.

An operation means what the PyTorch operator of the name in `target` means; arguments bear its names. Two mean more,
because the batch is free: a 0 in reshape's `shape` copies the input's size at that position, and a 0 in expand's
`size` is the batch, axis 0 of the first input. Codes are part of the file format: they are never reused, new
operations are added at the end. A law in tests/graph checks every row against PyTorch's own schema.

Argument kinds: x a tensor, x? a tensor or nothing, x* a list of tensors, i an integer, i? an integer or nothing,
I a list of integers, I? a list or nothing, f a float, f? a float or nothing, n a number (integer or float),
b a truth value, s a string.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TENSOR_KINDS = ("x", "x?", "x*")


@dataclass(frozen=True)
class Argument:
    """One argument of an operation: its name, its kind, and its default, or REQUIRED."""

    name: str
    kind: str
    default: Any


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclass(frozen=True)
class Op:
    """One operation: its name in the op list, its code in the file, the PyTorch operator, its arguments."""

    name: str
    code: int
    target: str
    arguments: tuple[Argument, ...]
    outputs: int = 1


def _arguments(text: str) -> tuple[Argument, ...]:
    """Parse "input:x weight:x bias:x? stride:I=1,1": a kind, then a default unless one must be given."""
    parsed = []
    for word in text.split():
        name, kind = word.split(":")
        kind, _, default = kind.partition("=")
        value: Any = REQUIRED
        if "=" in word:
            value = _default(kind, default)
        elif kind.endswith("?"):
            value = None
        parsed.append(Argument(name, kind, value))
    return tuple(parsed)


def _default(kind: str, text: str) -> Any:
    base = kind.rstrip("?")
    if base == "I":
        return tuple(int(word) for word in text.split(",") if word)
    if base == "i":
        return int(text)
    if base == "f":
        return float(text)
    if base == "n":
        return float(text) if "." in text else int(text)
    if base == "b":
        return text == "True"
    return text


# code, name, target, arguments, outputs
_ROWS: tuple[tuple[Any, ...], ...] = (
    (0, "linear", "linear.default", "input:x weight:x bias:x?"),
    (1, "conv1d", "conv1d.default", "input:x weight:x bias:x? stride:I=1 padding:I=0 dilation:I=1 groups:i=1"),
    (2, "conv2d", "conv2d.default", "input:x weight:x bias:x? stride:I=1,1 padding:I=0,0 dilation:I=1,1 groups:i=1"),
    (
        3,
        "conv_transpose2d",
        "conv_transpose2d.input",
        "input:x weight:x bias:x? stride:I=1,1 padding:I=0,0 output_padding:I=0,0 groups:i=1 dilation:I=1,1",
    ),
    (
        4,
        "batch_norm",
        "batch_norm.default",
        "input:x weight:x? bias:x? running_mean:x? running_var:x? momentum:f=0.1 eps:f=1e-05",
    ),
    (5, "layer_norm", "layer_norm.default", "input:x normalized_shape:I weight:x? bias:x? eps:f=1e-05"),
    (6, "group_norm", "group_norm.default", "input:x num_groups:i weight:x? bias:x? eps:f=1e-05"),
    (7, "rms_norm", "rms_norm.default", "input:x normalized_shape:I weight:x? eps:f?"),
    (8, "embedding", "embedding.default", "weight:x indices:x padding_idx:i=-1"),
    (9, "lstm_cell", "lstm_cell.default", "input:x hx:x* w_ih:x w_hh:x b_ih:x? b_hh:x?", 2),
    (10, "relu", "relu.default", "self:x"),
    (11, "hardtanh", "hardtanh.default", "self:x min_val:n=-1 max_val:n=1"),
    (12, "relu6", "relu6.default", "self:x"),
    (13, "sigmoid", "sigmoid.default", "self:x"),
    (14, "tanh", "tanh.default", "self:x"),
    (15, "gelu", "gelu.default", "self:x approximate:s=none"),
    (16, "silu", "silu.default", "self:x"),
    (17, "hardswish", "hardswish.default", "self:x"),
    (18, "hardsigmoid", "hardsigmoid.default", "self:x"),
    (19, "leaky_relu", "leaky_relu.default", "self:x negative_slope:n=0.01"),
    (20, "elu", "elu.default", "self:x alpha:n=1 scale:n=1 input_scale:n=1"),
    (21, "softplus", "softplus.default", "self:x beta:n=1 threshold:n=20"),
    (22, "mish", "mish.default", "self:x"),
    (23, "softmax", "softmax.int", "self:x dim:i"),
    (24, "log_softmax", "log_softmax.int", "self:x dim:i"),
    (25, "dropout", "dropout.default", "input:x p:f=0.5"),
    (26, "prelu", "prelu.default", "self:x weight:x"),
    (
        30,
        "max_pool1d",
        "max_pool1d.default",
        "self:x kernel_size:I stride:I= padding:I=0 dilation:I=1 ceil_mode:b=False",
    ),
    (
        31,
        "max_pool2d",
        "max_pool2d.default",
        "self:x kernel_size:I stride:I= padding:I=0,0 dilation:I=1,1 ceil_mode:b=False",
    ),
    (
        32,
        "avg_pool1d",
        "avg_pool1d.default",
        "self:x kernel_size:I stride:I= padding:I=0 ceil_mode:b=False count_include_pad:b=True",
    ),
    (
        33,
        "avg_pool2d",
        "avg_pool2d.default",
        "self:x kernel_size:I stride:I= padding:I=0,0 ceil_mode:b=False count_include_pad:b=True divisor_override:i?",
    ),
    (
        34,
        "avg_pool3d",
        "avg_pool3d.default",
        "self:x kernel_size:I stride:I= padding:I=0,0,0 ceil_mode:b=False count_include_pad:b=True divisor_override:i?",
    ),
    (35, "adaptive_avg_pool1d", "adaptive_avg_pool1d.default", "self:x output_size:I"),
    (36, "adaptive_avg_pool2d", "adaptive_avg_pool2d.default", "self:x output_size:I"),
    (37, "adaptive_max_pool2d", "adaptive_max_pool2d.default", "self:x output_size:I", 2),
    (40, "add", "add.Tensor", "self:x other:x alpha:n=1"),
    (41, "sub", "sub.Tensor", "self:x other:x alpha:n=1"),
    (42, "mul", "mul.Tensor", "self:x other:x"),
    (43, "div", "div.Tensor", "self:x other:x"),
    (44, "add_scalar", "add.Scalar", "self:x other:n alpha:n=1"),
    (45, "sub_scalar", "sub.Scalar", "self:x other:n alpha:n=1"),
    (46, "mul_scalar", "mul.Scalar", "self:x other:n"),
    (47, "div_scalar", "div.Scalar", "self:x other:n"),
    (48, "rsub_scalar", "rsub.Scalar", "self:x other:n alpha:n=1"),
    (49, "neg", "neg.default", "self:x"),
    (50, "abs", "abs.default", "self:x"),
    (51, "pow_scalar", "pow.Tensor_Scalar", "self:x exponent:n"),
    (52, "sqrt", "sqrt.default", "self:x"),
    (53, "rsqrt", "rsqrt.default", "self:x"),
    (54, "exp", "exp.default", "self:x"),
    (55, "log", "log.default", "self:x"),
    (56, "sin", "sin.default", "self:x"),
    (57, "cos", "cos.default", "self:x"),
    (58, "clamp", "clamp.default", "self:x min:n? max:n?"),
    (59, "maximum", "maximum.default", "self:x other:x"),
    (60, "minimum", "minimum.default", "self:x other:x"),
    (61, "matmul", "matmul.default", "self:x other:x"),
    (
        62,
        "scaled_dot_product_attention",
        "scaled_dot_product_attention.default",
        "query:x key:x value:x attn_mask:x? dropout_p:f=0.0 is_causal:b=False scale:f? enable_gqa:b=False",
    ),
    (63, "mean", "mean.dim", "self:x dim:I? keepdim:b=False"),
    (64, "sum", "sum.dim_IntList", "self:x dim:I? keepdim:b=False"),
    (65, "amax", "amax.default", "self:x dim:I= keepdim:b=False"),
    (66, "masked_fill", "masked_fill.Scalar", "self:x mask:x value:n"),
    (67, "where", "where.self", "condition:x self:x other:x"),
    (70, "cat", "cat.default", "tensors:x* dim:i=0"),
    (71, "stack", "stack.default", "tensors:x* dim:i=0"),
    (72, "reshape", "reshape.default", "self:x shape:I"),
    (73, "flatten", "flatten.using_ints", "self:x start_dim:i=1 end_dim:i=-1"),
    (74, "unsqueeze", "unsqueeze.default", "self:x dim:i"),
    (75, "squeeze", "squeeze.dims", "self:x dim:I"),
    (76, "permute", "permute.default", "self:x dims:I"),
    (77, "transpose", "transpose.int", "self:x dim0:i dim1:i"),
    (78, "slice", "slice.Tensor", "self:x dim:i=0 start:i? end:i? step:i=1"),
    (79, "select", "select.int", "self:x dim:i index:i"),
    (80, "expand", "expand.default", "self:x size:I"),
    (81, "pad", "pad.default", "self:x pad:I mode:s=constant value:f?"),
    (82, "repeat_interleave", "repeat_interleave.self_int", "self:x repeats:i dim:i?"),
    (83, "flip", "flip.default", "self:x dims:I"),
    (84, "to_float", "_to_float.default", "self:x"),
    (85, "channel_shuffle", "channel_shuffle.default", "self:x groups:i"),
    (86, "pixel_shuffle", "pixel_shuffle.default", "self:x upscale_factor:i"),
    (87, "feature_dropout", "feature_dropout.default", "input:x p:f=0.5"),
    (88, "sign", "sign.default", "self:x"),
    (
        89,
        "fake_quantize",
        "fake_quantize_per_tensor_affine.default",
        "self:x scale:f zero_point:i quant_min:i quant_max:i",
    ),
)

OPS: dict[str, Op] = {
    row[1]: Op(row[1], row[0], row[2], _arguments(row[3]), row[4] if len(row) > 4 else 1) for row in _ROWS
}
OPS_BY_CODE: dict[int, Op] = {op.code: op for op in OPS.values()}

# Operations that change each number of one tensor for itself.
ELEMENTWISE_ONE = frozenset(
    (
        "relu",
        "hardtanh",
        "relu6",
        "sigmoid",
        "tanh",
        "gelu",
        "silu",
        "hardswish",
        "hardsigmoid",
        "leaky_relu",
        "elu",
        "softplus",
        "mish",
        "dropout",
        "feature_dropout",
        "add_scalar",
        "sub_scalar",
        "mul_scalar",
        "div_scalar",
        "rsub_scalar",
        "neg",
        "abs",
        "pow_scalar",
        "sqrt",
        "rsqrt",
        "exp",
        "log",
        "sin",
        "cos",
        "sign",
        "fake_quantize",
        "clamp",
        "to_float",
    )
)
