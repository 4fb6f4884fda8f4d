"""Each operation of the list means what PyTorch's operator means, on shapes chosen to hurt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tersenet.errors import TersenetError
from tersenet.ir.ops import OPS

RNG = np.random.default_rng(0)


def f(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return (np.abs(RNG.standard_normal(shape)) + 0.1).astype(np.float32)


def i(*shape: int, high: int = 5) -> np.ndarray:
    return RNG.integers(0, high, shape)


def b(*shape: int) -> np.ndarray:
    return RNG.random(shape) < 0.5


UNARY = "sign relu relu6 sigmoid tanh silu hardswish hardsigmoid mish neg abs exp sin cos hardtanh leaky_relu elu softplus gelu clamp"

# op, inputs by name, parameters by name, arguments
CASES: list[tuple[str, dict, dict, dict]] = [
    *((op, {"self": f(3, 7, 5, scale=4)}, {}, {"min": -1.5} if op == "clamp" else {}) for op in UNARY.split()),
    *((op, {"self": positive(2, 33)}, {}, {}) for op in ("sqrt", "rsqrt", "log")),
    ("gelu", {"self": f(2, 70000)}, {}, {"approximate": "tanh"}),
    *(
        (
            "fake_quantize",
            {"self": f(3, 70, scale=3)},
            {},
            {"scale": 0.013, "zero_point": zero, "quant_min": low, "quant_max": high},
        )
        for zero, low, high in ((0, -128, 127), (0, 0, 255), (17, 0, 255), (-3, -8, 7), (0, 0, 0))
    ),
    (
        "fake_quantize",
        {"self": np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, 0.0, -0.0]], np.float32)},
        {},
        {"scale": 1.0, "zero_point": 0, "quant_min": -128, "quant_max": 127},
    ),
    ("clamp", {"self": f(4, 4)}, {}, {"min": 1, "max": -1.0}),
    ("sign", {"self": np.array([[-2, -0.0, 0, 1e-40, 3], [np.nan, np.inf, -np.inf, -1e-40, 1]], np.float32)}, {}, {}),
    ("hardtanh", {"self": f(4, 4)}, {}, {"min_val": 0, "max_val": 0.5}),
    ("elu", {"self": f(4, 4)}, {}, {"alpha": 0.5, "scale": 2, "input_scale": 1.5}),
    ("softplus", {"self": f(4, 9, scale=30)}, {}, {"beta": 2, "threshold": 10}),
    ("pow_scalar", {"self": f(4, 4)}, {}, {"exponent": 2}),
    ("pow_scalar", {"self": positive(4, 4)}, {}, {"exponent": -0.5}),
    (
        "pow_scalar",
        {"self": np.array([[0, -0.0, 2, 1e-40, 0.3], [-1, np.inf, -np.inf, np.nan, 7]], np.float32)},
        {},
        {"exponent": 0.75},
    ),
    ("pow_scalar", {"self": np.array([[3e38]], np.float32)}, {}, {"exponent": 0.75}),
    ("prelu", {"self": f(2, 3, 5)}, {"weight": f(3)}, {}),
    ("prelu", {"self": f(2, 3, 5)}, {"weight": f(1)}, {}),
    *(
        (op, {"self": f(3, 4)}, {}, {"other": 1.7})
        for op in ("add_scalar", "sub_scalar", "mul_scalar", "div_scalar", "rsub_scalar")
    ),
    *((op, {"self": i(3, 4)}, {}, {"other": 3}) for op in ("add_scalar", "sub_scalar", "mul_scalar", "rsub_scalar")),
    ("add_scalar", {"self": f(3, 4)}, {}, {"other": 2, "alpha": 3}),
    ("to_float", {"self": i(3, 4)}, {}, {}),
    ("to_float", {"self": b(3, 4)}, {}, {}),
    *(
        (op, {"self": f(*left), "other": f(*right)}, {}, {})
        for op in ("add", "sub", "mul", "div", "maximum", "minimum")
        for left, right in (
            ((3, 4), (3, 4)),
            ((3, 4, 1), (3, 1, 5)),
            ((3, 2, 3, 4), (3, 1, 1, 4)),
            ((3, 5, 1, 7), (3, 1, 6, 1)),
        )
    ),
    ("add", {"self": f(2, 3, 4)}, {"other": f(4)}, {"alpha": -2}),
    ("add", {"self": i(2, 3)}, {"other": i(3)}, {}),
    ("mul", {"self": i(2, 3), "other": i(2, 1)}, {}, {}),
    ("masked_fill", {"self": f(2, 3, 4), "mask": b(2, 1, 4)}, {}, {"value": -1.5}),
    ("where", {"condition": b(2, 3, 1), "self": f(2, 3, 4), "other": f(2, 1, 4)}, {}, {}),
    (
        "batch_norm",
        {"input": f(2, 3, 4, 5)},
        {"weight": f(3), "bias": f(3), "running_mean": f(3), "running_var": positive(3)},
        {"eps": 1e-3},
    ),
    ("batch_norm", {"input": f(2, 3)}, {"running_mean": f(3), "running_var": positive(3)}, {}),
    ("layer_norm", {"input": f(2, 3, 4)}, {"weight": f(3, 4), "bias": f(3, 4)}, {"normalized_shape": [3, 4]}),
    ("layer_norm", {"input": f(2, 3, 40)}, {}, {"normalized_shape": [40]}),
    ("rms_norm", {"input": f(2, 3, 8)}, {"weight": f(8)}, {"normalized_shape": [8]}),
    ("rms_norm", {"input": f(2, 3, 8)}, {}, {"normalized_shape": [3, 8], "eps": 0.1}),
    ("group_norm", {"input": f(2, 6, 5)}, {"weight": f(6), "bias": f(6)}, {"num_groups": 3}),
    *((op, {"self": f(2, 3, 5, scale=3)}, {}, {"dim": dim}) for op in ("softmax", "log_softmax") for dim in (0, 1, -1)),
    ("dropout", {"input": f(2, 3)}, {}, {}),
    ("feature_dropout", {"input": f(2, 3, 4)}, {}, {}),
    ("max_pool1d", {"self": f(2, 3, 11)}, {}, {"kernel_size": [3], "stride": [2], "padding": [1]}),
    *(
        ("max_pool2d", {"self": f(2, 3, *size)}, {}, arguments)
        for size in ((7, 9), (8, 8), (3, 3), (33, 32))
        for arguments in (
            {"kernel_size": [2, 2]},
            {"kernel_size": [3, 3], "stride": [2, 2], "ceil_mode": True},
            {"kernel_size": [3, 2], "stride": [1, 2], "padding": [1, 1]},
            {"kernel_size": [2, 2], "stride": [3, 3], "dilation": [2, 2], "ceil_mode": True},
        )
    ),
    ("avg_pool1d", {"self": f(2, 3, 11)}, {}, {"kernel_size": [4], "stride": [3], "padding": [2]}),
    *(
        ("avg_pool2d", {"self": f(2, 3, 7, 9)}, {}, arguments)
        for arguments in (
            {"kernel_size": [2, 3]},
            {"kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1], "ceil_mode": True},
            {"kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1], "count_include_pad": False},
            {"kernel_size": [3, 3], "divisor_override": 7},
        )
    ),
    (
        "avg_pool3d",
        {"self": f(2, 3, 4, 5, 6)},
        {},
        {"kernel_size": [2, 3, 2], "stride": [2, 1, 2], "padding": [1, 1, 0]},
    ),
    *(  # along the first axis alone, as local response normalisation has it: planes of more and of fewer than 256
        ("avg_pool3d", {"self": f(2, 1, 7, *plane)}, {}, {"kernel_size": [5, 1, 1], **arguments})
        for plane in ((20, 27), (1, 3))
        for arguments in (
            {"stride": [1, 1, 1], "padding": [2, 0, 0]},
            {"stride": [2, 1, 1], "padding": [1, 0, 0], "count_include_pad": False},
            {"stride": [3, 1, 1], "padding": [2, 0, 0], "ceil_mode": True},
            {"stride": [1, 1, 1], "divisor_override": 3},
        )
    ),
    ("adaptive_avg_pool1d", {"self": f(2, 3, 7)}, {}, {"output_size": [3]}),
    ("adaptive_avg_pool2d", {"self": f(2, 3, 7, 5)}, {}, {"output_size": [1, 1]}),
    ("adaptive_avg_pool2d", {"self": f(2, 3, 7, 5)}, {}, {"output_size": [3, 4]}),
    ("adaptive_max_pool2d", {"self": f(2, 3, 7, 5)}, {}, {"output_size": [3, 4]}),
    ("matmul", {"self": f(2, 3, 4), "other": f(2, 4, 5)}, {}, {}),
    ("matmul", {"self": f(2, 3, 4)}, {"other": f(4)}, {}),
    ("matmul", {"other": f(2, 4, 3)}, {"self": f(4)}, {}),
    ("matmul", {"self": f(2, 1, 3, 9)}, {"other": f(5, 9, 2)}, {}),
    ("scaled_dot_product_attention", {"query": f(2, 4, 5, 8), "key": f(2, 4, 6, 8), "value": f(2, 4, 6, 3)}, {}, {}),
    (
        "scaled_dot_product_attention",
        {"query": f(2, 4, 5, 8), "key": f(2, 4, 5, 8), "value": f(2, 4, 5, 3)},
        {},
        {"is_causal": True, "scale": 0.3},
    ),
    (
        "scaled_dot_product_attention",
        {"query": f(2, 4, 5, 8), "key": f(2, 4, 6, 8), "value": f(2, 4, 6, 3), "attn_mask": f(2, 1, 5, 6)},
        {},
        {},
    ),
    (
        "scaled_dot_product_attention",
        {"query": f(2, 4, 5, 8), "key": f(2, 2, 5, 8), "value": f(2, 2, 5, 3)},
        {},
        {"enable_gqa": True},
    ),
    *(
        (op, {"self": f(2, 3, 4, 5)}, {}, arguments)
        for op in ("mean", "sum", "amax")
        for arguments in ({"dim": [1]}, {"dim": [2, -1], "keepdim": True}, {"dim": [0, 2]})
    ),
    ("cat", {"tensors.0": f(2, 3, 4), "tensors.1": f(2, 1, 4)}, {}, {"dim": 1}),
    ("cat", {"tensors.0": i(2, 3), "tensors.1": i(2, 3)}, {}, {"dim": -1}),
    ("stack", {"tensors.0": f(2, 3), "tensors.1": f(2, 3)}, {}, {"dim": 1}),
    ("reshape", {"self": f(2, 6, 4)}, {}, {"shape": [2, -1, 3]}),
    ("flatten", {"self": f(2, 6, 4)}, {}, {"start_dim": 1}),
    ("flatten", {"self": f(2, 6, 4, 5)}, {}, {"start_dim": 2, "end_dim": 3}),
    ("unsqueeze", {"self": f(2, 3)}, {}, {"dim": -1}),
    ("squeeze", {"self": f(2, 1, 3, 1)}, {}, {"dim": [1, 2]}),
    ("permute", {"self": f(2, 3, 4, 5)}, {}, {"dims": [0, 3, 1, 2]}),
    ("transpose", {"self": i(2, 3, 4)}, {}, {"dim0": -1, "dim1": 1}),
    ("slice", {"self": f(2, 3, 9)}, {}, {"dim": 2, "start": 1, "end": -1, "step": 3}),
    ("slice", {"self": f(2, 3, 9)}, {}, {"dim": -1, "start": -4, "end": 100, "step": 100}),
    ("select", {"self": b(2, 3, 4)}, {}, {"dim": 1, "index": -1}),
    ("expand", {"self": f(2, 1, 4)}, {}, {"size": [3, 2, 5, -1]}),
    ("pad", {"self": f(2, 3, 4, 5)}, {}, {"pad": [1, 2, 0, 3], "value": 1.5}),
    ("pad", {"self": f(2, 3, 4, 5)}, {}, {"pad": [-1, 2, 1, -2]}),
    *(
        ("pad", {"self": f(2, 3, 4, 5)}, {}, {"pad": [2, 3, 1, 2], "mode": mode})
        for mode in ("reflect", "replicate", "circular")
    ),
    ("repeat_interleave", {"self": f(2, 3, 4)}, {}, {"repeats": 3, "dim": 1}),
    ("flip", {"self": f(2, 3, 4)}, {}, {"dims": [1, -1]}),
    ("channel_shuffle", {"self": f(2, 6, 3, 4)}, {}, {"groups": 3}),
    ("pixel_shuffle", {"self": f(2, 8, 3, 4)}, {}, {"upscale_factor": 2}),
    ("embedding", {"indices": i(2, 3)}, {"weight": f(5, 7)}, {}),
    ("linear", {"input": f(2, 5, 7)}, {"weight": f(6, 7), "bias": f(6)}, {}),
    ("linear", {"input": f(2, 1)}, {"weight": f(1, 1)}, {}),
    (
        "conv1d",
        {"input": f(2, 4, 19)},
        {"weight": f(6, 2, 3), "bias": f(6)},
        {"stride": [2], "padding": [2], "dilation": [2], "groups": 2},
    ),
    ("conv2d", {"input": f(2, 3, 9, 11)}, {"weight": f(5, 3, 3, 3), "bias": f(5)}, {"padding": [1, 1]}),
    ("conv2d", {"input": f(2, 3, 9, 11)}, {"weight": f(5, 3, 9, 11)}, {}),
    (
        "conv2d",
        {"input": f(2, 6, 9, 11)},
        {"weight": f(6, 1, 3, 3), "bias": f(6)},
        {"padding": [1, 1], "stride": [2, 2], "groups": 6},
    ),
    (
        "conv2d",
        {"input": f(2, 6, 9, 11)},
        {"weight": f(12, 1, 5, 2)},
        {"padding": [2, 1], "stride": [3, 1], "groups": 6},
    ),
    (
        "conv2d",
        {"input": f(2, 8, 10, 7)},
        {"weight": f(4, 2, 2, 3)},
        {"stride": [2, 3], "dilation": [3, 1], "groups": 4},
    ),
    ("conv2d", {"input": f(2, 3, 5, 6)}, {"weight": f(4, 3, 3, 3)}, {"stride": [2**30, 2**30]}),
    ("conv2d", {"input": f(2, 3, 5, 6)}, {"weight": f(4, 3, 3, 3)}, {"stride": [2, 4], "padding": [3, 5]}),
    (
        "conv_transpose2d",
        {"input": f(2, 4, 5, 6)},
        {"weight": f(4, 3, 3, 2), "bias": f(6)},
        {"stride": [2, 3], "padding": [1, 0], "output_padding": [1, 2], "groups": 2, "dilation": [1, 2]},
    ),
    (
        "lstm_cell",
        {"input": f(2, 5), "hx.0": f(2, 4), "hx.1": f(2, 4)},
        {"w_ih": f(16, 5), "w_hh": f(16, 4), "b_ih": f(16), "b_hh": f(16)},
        {},
    ),
]


def expected(op: str, inputs: dict, parameters: dict, arguments: dict) -> list[np.ndarray]:
    """What the operator of OPS[op].target gives."""
    given: dict[str, object] = {}
    for name, array in {**inputs, **parameters}.items():
        base, _, index = name.partition(".")
        tensor = torch.from_numpy(array)
        given[base] = [*given.get(base, []), tensor] if index else tensor
    given.update(arguments)
    names = {"relu6": torch.nn.functional.relu6, "to_float": lambda self: self.float()}
    if op in ("dropout", "feature_dropout"):
        return [given["input"].numpy()]
    if op == "batch_norm":
        given = {"weight": None, "bias": None, "eps": 1e-5, **given}
        out = torch.nn.functional.batch_norm(**given)
    elif op == "relu6" or op == "to_float":
        out = names[op](given["self"])
    else:
        packet, _, overload = OPS[op].target.partition(".")
        operator = getattr(getattr(torch.ops.aten, packet), overload)
        positional = [argument.name for argument in operator._schema.arguments]
        # Schemas name their first argument self, which Python methods do not take by name.
        leading = []
        while positional and positional[0] in given and ("self" in positional):
            leading.append(given.pop(positional.pop(0)))
        out = operator(*leading, **given)
    return [one.numpy() for one in (out if isinstance(out, (tuple, list)) else (out,))]


def ids() -> list[str]:
    return [f"{number}-{case[0]}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize(("op", "inputs", "parameters", "arguments"), CASES, ids=ids())
def test_an_operation_gives_what_pytorch_gives(op, inputs, parameters, arguments, run_operation):
    outputs = run_operation(op, inputs, parameters, arguments)
    wanted = expected(op, inputs, parameters, arguments)
    assert len(outputs) == len(wanted)
    for ours, theirs in zip(outputs, wanted):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        most = np.abs(theirs[np.isfinite(theirs)]).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * max(float(most), 1e-6))


def test_every_operation_has_a_case():
    assert {case[0] for case in CASES} == set(OPS)


@pytest.mark.parametrize("op", ["relu", "hardtanh", "max_pool2d", "maximum", "amax", "clamp"])
def test_nan_passes_through(op, run_operation):
    x = f(1, 1, 4, 4)
    x[0, 0, 1, 1] = np.nan
    arguments = {"max_pool2d": {"kernel_size": [2, 2]}, "amax": {"dim": [3]}, "clamp": {"min": 0}}.get(op, {})
    inputs = {"self": x, "other": f(1, 1, 4, 4)} if op == "maximum" else {"self": x}
    (y,) = run_operation(op, inputs, {}, arguments)
    assert np.isnan(y).sum() == 1


REFUSED = [
    ("relu", {"self": i(2, 3)}, {}, {}, "floats"),
    ("add", {"self": f(2, 3), "other": f(2, 4)}, {}, {}, "do not fit"),
    ("cat", {"tensors.0": f(2, 3), "tensors.1": f(2, 3, 1)}, {}, {}, "differ"),
    ("softmax", {"self": f(2, 3)}, {}, {"dim": 2}, "axis 2"),
    ("reshape", {"self": f(2, 3)}, {}, {"shape": [0, 4]}, "do not fit"),
    ("select", {"self": f(2, 3)}, {}, {"dim": 1, "index": 3}, "index 3"),
    ("permute", {"self": f(2, 3)}, {}, {"dims": [0, 0]}, "twice"),
    ("max_pool2d", {"self": f(2, 3, 4, 4)}, {}, {"kernel_size": [5, 5]}, "larger"),
    ("conv2d", {"input": f(2, 3, 2, 2)}, {"weight": f(4, 3, 3, 3)}, {}, "spans 3"),
    ("conv2d", {"input": f(2, 4, 5, 5)}, {"weight": f(4, 3, 3, 3)}, {}, "channels"),
    ("linear", {"input": f(2, 3)}, {"weight": f(4, 5)}, {}, "last size"),
    ("expand", {"self": f(2, 3)}, {}, {"size": [2, 4]}, "cannot become"),
    ("pad", {"self": f(2, 3)}, {}, {"pad": [3, 0], "mode": "reflect"}, "pads by more"),
    ("matmul", {"self": f(2, 3, 4), "other": f(2, 5, 4)}, {}, {}, "rows"),
    ("repeat_interleave", {"self": f(2, 3)}, {}, {"repeats": 2**30, "dim": 1}, "above the limit"),
]


@pytest.mark.parametrize(("op", "inputs", "parameters", "arguments", "why"), REFUSED)
def test_what_does_not_fit_is_refused_with_a_sentence(op, inputs, parameters, arguments, why, run_operation):
    with pytest.raises(TersenetError, match=why):
        run_operation(op, inputs, parameters, arguments, max_bytes=1 << 30)


def test_an_index_outside_the_table_is_refused(run_operation):
    for wrong in (5, -1, 2**62):
        with pytest.raises(TersenetError, match="index"):
            run_operation("embedding", {"indices": i(1, 3)}, {"weight": f(5, 7)}, {}, [np.array([[0, wrong, 1]])])
