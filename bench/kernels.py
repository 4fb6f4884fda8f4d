"""Sparse layers of Deep Compression's speed figure: our kernels beside what a user would pick instead.

    python bench/kernels.py [--batch 1] [--threads 1] [--rounds 15] [--only vgg] [--json]
    python bench/kernels.py --dense [--batch 1] [--rounds 15] [--columns scalar,avx2,avx512,avx512vnni]
    python bench/kernels.py --scaling [--threads 2] [--rounds 15]
    python bench/kernels.py --conv [--batch 1] [--rounds 15] [--columns scalar,avx2,avx512,avx512vnni]

Nine fully connected layers with weights at random places, 31 shared values (Han et al. 2016, figure 9). Contenders
take turns; the first call is thrown away. One thread: medians of the thread's CPU time, so that other work on the
machine counts only through the caches. Two threads: the least wall time. Every answer is compared with float64 in the
same run. `torch` is the better of F.linear and mv; MKL is torch's CSR with 32-bit indices. In int8, onnxruntime uses AMX
where the CPU has it; FBGEMM, which is torch's, does not.

--dense has 4096 x 4096 weights of 1, 4 and 8 bits instead, beside torch in float32; of one bit with inputs of any value,
and with signs, which are packed within the time. It compares columns of kernels. --conv has convolutions of such weights.
--scaling has the nine layers at one thread and at several, least wall times of calls that take turns.
"""

import argparse
import json
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse
import torch

from tersenet import _core

# name, rows (outputs), columns (inputs), density
LAYERS = (
    ("alex_fc6", 4096, 9216, 0.09),
    ("alex_fc7", 4096, 4096, 0.09),
    ("alex_fc8", 1000, 4096, 0.25),
    ("vgg_fc6", 4096, 25088, 0.04),
    ("vgg_fc7", 4096, 4096, 0.04),
    ("vgg_fc8", 1000, 4096, 0.23),
    ("nt_we", 600, 4096, 0.10),
    ("nt_wd", 8791, 600, 0.11),
    ("nt_lstm", 2400, 1201, 0.10),
)

SIDE = 4096
DENSE = (
    "1 bit, signs",
    "1 bit",
    "4 bits by row",
    "4 bits, groups",
    "4 bits, codebook",
    "8 bits by row",
    "8 bits, codebook",
)

# in, out, taps, side of the image
CONVS = ((64, 256, 3, 27), (512, 1000, 1, 13), (64, 64, 3, 8), (512, 512, 3, 7))
CODED = ("4 bits, codebook", "8 bits by row", "8 bits, codebook")

Run = Callable[[], object]


def layer(rows: int, cols: int, density: float, seed: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray, np.ndarray]:
    """A matrix, its codebook, and the code of each of its entries."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(rows * cols) < density)
    codebook = (np.sort(rng.laplace(size=31)) / np.sqrt(cols * density)).astype(np.float32)
    code = rng.integers(0, 31, len(kept)).astype(np.uint16)
    row_start = np.searchsorted(kept, np.arange(rows + 1) * cols).astype(np.int32)
    csr = scipy.sparse.csr_matrix((codebook[code], (kept % cols).astype(np.int32), row_start), shape=(rows, cols))
    return csr, codebook, code


def onnx_runs(weight: np.ndarray, x: np.ndarray, threads: int) -> dict[str, Run]:
    """onnxruntime in float32, and with int8 weights and activations by quantize_dynamic; empty without it."""
    try:
        import onnx
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        return {}
    import tempfile
    from pathlib import Path

    onnxruntime.set_default_logger_severity(4)
    logging.getLogger().setLevel(logging.ERROR)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", weight.shape[1]])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", weight.shape[0]])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
    )
    found: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        dense, rounded = Path(folder) / "dense.onnx", Path(folder) / "int8.onnx"
        made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(made, dense)
        quantize_dynamic(dense, rounded, weight_type=QuantType.QInt8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        for name, path in (("onnxruntime", dense), ("onnxruntime int8", rounded)):
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            found[name] = lambda session=session: session.run(None, {"x": x})[0]
    return found


def contenders(
    rows: int, cols: int, density: float, batch: int, threads: int
) -> tuple[dict[str, Run], np.ndarray, int]:
    csr, codebook, code = layer(rows, cols, density, seed=rows + cols)
    rng = np.random.default_rng(1)
    x = np.maximum(rng.standard_normal((batch, cols)), 0).astype(np.float32)
    truth = (csr.astype(np.float64) @ x.T.astype(np.float64)).T
    weight = csr.toarray()
    dense, given = torch.from_numpy(weight), torch.from_numpy(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mkl = torch.sparse_csr_tensor(
            torch.from_numpy(csr.indptr), torch.from_numpy(csr.indices), torch.from_numpy(csr.data), csr.shape
        )
    column = given.T.contiguous()
    found: dict[str, Run] = {
        "torch": lambda: torch.nn.functional.linear(given, dense).numpy(),
        "scipy CSR": lambda: (csr @ x.T).T,
        "MKL CSR": (lambda: torch.mv(mkl, given[0]).numpy()[None])
        if batch == 1
        else (lambda: (mkl @ column).T.numpy()),
        **onnx_runs(weight, x, threads),
    }
    if batch == 1:
        found["torch mv"] = lambda: torch.mv(dense, given[0]).numpy()[None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.nn.Sequential(torch.nn.Linear(cols, rows, bias=False))
        module[0].weight.data = dense
        rounded = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)
    found["torch int8"] = lambda: rounded(given).detach().numpy()
    row_start, col = csr.indptr.astype(np.uint32), csr.indices.astype(np.uint32)
    for kernel in _core.linear_kernels(rows, cols, row_start, col, codebook, code, None, threads, int8=True):
        if kernel.name.startswith("dense/scalar"):
            continue
        y = np.empty((batch, rows), np.float32)
        found["ours " + kernel.name] = lambda kernel=kernel, y=y: kernel.run(x, y, batch) or y
    return found, truth, csr.nnz


def few_bits(name: str, rows: int = SIDE, cols: int = SIDE) -> dict[str, np.ndarray | None]:
    """Arrays of a layer as _core.linear_kernels takes them: grids have a step for each row or 64 weights."""
    rng = np.random.default_rng(2)
    levels = {"1": 2, "4": 16, "8": 256}[name.split()[0]]
    code = rng.integers(0, levels, rows * cols).astype(np.uint16)
    if name.endswith("codebook"):
        return {"codebook": rng.laplace(size=levels).astype(np.float32), "code": code, "step": None, "zero": None}
    runs = rows * cols // 64 if name.endswith("groups") else rows
    zero = np.ones(runs) if levels == 2 else rng.integers(0, levels, runs)
    codebook = np.arange(levels) * (2 if levels == 2 else 1)
    step = rng.uniform(0.5, 1.5, runs)
    return {
        name: array.astype(np.float32) for name, array in (("codebook", codebook), ("step", step), ("zero", zero))
    } | {"code": code}


def worth(arrays: dict[str, np.ndarray | None]) -> np.ndarray:
    """What the arrays of few_bits stand for."""
    weight = arrays["codebook"][arrays["code"]]
    if arrays["step"] is None:
        return weight
    return ((weight.reshape(len(arrays["step"]), -1) - arrays["zero"][:, None]) * arrays["step"][:, None]).ravel()


def dense_contenders(name: str, batch: int, threads: int, columns: list[str]) -> tuple[dict[str, Run], np.ndarray]:
    """torch in float32, each kernel that keeps the bits, and gemm on floats, in each column."""
    arrays = few_bits(name)
    dense = torch.from_numpy(worth(arrays).reshape(SIDE, SIDE))
    x = np.random.default_rng(1).standard_normal((batch, SIDE)).astype(np.float32)
    signs = name.endswith("signs")
    x = np.where(x < 0, -1, 1).astype(np.float32) if signs else x
    given = torch.from_numpy(x)
    found: dict[str, Run] = {"torch": lambda: torch.nn.functional.linear(given, dense).numpy()}
    wanted = ("xnor",) if signs else ("binary", "codes4", "codes8", "levels8", "gemm-codes8", "gemm")
    for column in columns:
        os.environ["TERSENET_CPU"] = column
        for kernel in _core.linear_kernels(
            SIDE,
            SIDE,
            None,
            None,
            arrays["codebook"],
            arrays["code"],
            None,
            threads,
            signs=signs,
            step=arrays["step"],
            zero=arrays["zero"],
        ):
            if kernel.name.split("/")[0] in wanted:
                y = np.empty((batch, SIDE), np.float32)
                found["ours " + kernel.name] = lambda kernel=kernel, y=y: kernel.run(x, y, batch) or y
    return found, x.astype(np.float64) @ dense.numpy().T.astype(np.float64)


def conv_contenders(
    name: str, shape: tuple[int, ...], batch: int, threads: int, columns: list[str]
) -> tuple[dict[str, Run], np.ndarray]:
    """torch in float32 and each kernel of a convolution, in each column."""
    from_, to, taps, side = shape
    arrays = few_bits(name, to, from_ * taps * taps)
    weight = torch.from_numpy(worth(arrays).reshape(to, from_, taps, taps))
    x = np.random.default_rng(1).standard_normal((batch, from_, side, side)).astype(np.float32)
    given = torch.from_numpy(x)
    found: dict[str, Run] = {"torch": lambda: torch.nn.functional.conv2d(given, weight, padding=taps // 2).numpy()}
    sizes = [from_, to, 1, taps, taps, 1, 1, 1, 1, *[taps // 2] * 4, side, side]
    coded = (None, None, arrays["codebook"], arrays["code"], None)
    for column in columns:
        os.environ["TERSENET_CPU"] = column
        for kernel in _core.conv_kernels(sizes, *coded, threads, step=arrays["step"], zero=arrays["zero"]):
            y = np.empty((batch, to, side, side), np.float32)
            found["ours " + kernel.name] = lambda kernel=kernel, y=y: kernel.run(x, y, batch) or y
    return found, torch.nn.functional.conv2d(given.double(), weight.double(), padding=taps // 2).numpy()


def measure(found: dict[str, Run], rounds: int, threads: int) -> dict[str, float]:
    """Microseconds of a call, by contender."""
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, run in found.items():
            spent = []
            for _ in range(5 if turn else 1):  # a call that follows its own kind, as in a network's own loop
                start = clock()
                run()
                spent.append((clock() - start) / 1e3)
            if turn:
                times[name].append(min(spent))
    middle = statistics.median if threads == 1 else min
    return {name: middle(one) for name, one in times.items()}


def is_int8(name: str) -> bool:
    return "int8" in name or any(one in name for one in ("wsell8", "spmm8", "tiles8", "gemv8", "gemm8"))


def best(times: dict[str, float], *, ours: bool, int8: bool) -> float:
    picked = [t for name, t in times.items() if name.startswith("ours") == ours and is_int8(name) == int8]
    return min(picked, default=float("nan"))


def geometric(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def shown(machine: dict[str, object], results: dict[str, dict[str, float]], as_json: bool) -> bool:
    """Prints the machine, and the results where they are wanted as JSON: then nothing is left to print."""
    machine["load_average_after"] = os.getloadavg()
    if as_json:
        print(json.dumps({**machine, "layers": results}, indent=2))
        return True
    for key, value in machine.items():
        print(f"{key:20}{value}")
    return False


def dense_table(arguments: argparse.Namespace, machine: dict[str, object]) -> None:
    """Each layer of few bits: microseconds, and how many times faster than torch."""
    results = {}
    options = arguments.batch, arguments.threads, arguments.columns.split(",")
    cases = {name: partial(dense_contenders, name, *options) for name in DENSE}
    if arguments.conv:
        cases = {
            f"{name}, {shape[0]} to {shape[1]}, {shape[2]} x {shape[2]} at {shape[3]} x {shape[3]}": partial(
                conv_contenders, name, shape, *options
            )
            for shape in CONVS
            for name in CODED
        }
    for name, contend in cases.items():
        if not name.startswith(arguments.only):
            continue
        found, truth = contend()
        for one, run in found.items():
            error = float(np.abs(run() - truth).max() / np.abs(truth).max())
            assert error < 1e-5, f"{name}: {one} is off by {error:.2g} of the largest output"
        results[name] = measure(found, arguments.rounds, arguments.threads)
    if shown(machine, results, arguments.json):
        return
    for name, times in results.items():
        print(f"\n{name:44}{'microseconds':>14}{'times torch':>14}")
        for one, took in times.items():
            print(f"  {one:42}{took:14.1f}{times['torch'] / took:14.2f}")


def scaling_table(arguments: argparse.Namespace, machine: dict[str, object]) -> None:
    """The sparse kernels of one vector: how many times faster on several threads than on one."""
    results: dict[str, dict[str, float]] = {}
    for name, rows, cols, density in LAYERS:
        if not name.startswith(arguments.only):
            continue
        csr, codebook, code = layer(rows, cols, density, seed=rows + cols)
        sparse = csr.indptr.astype(np.uint32), csr.indices.astype(np.uint32), codebook, code, None
        x = np.maximum(np.random.default_rng(1).standard_normal((1, cols)), 0).astype(np.float32)
        y = np.empty((1, rows), np.float32)
        found: dict[str, Run] = {}
        for threads in (1, arguments.threads):
            for kernel in _core.linear_kernels(rows, cols, *sparse, threads, int8=True):
                if kernel.name.startswith(("wsell", "csr16")):
                    found[f"{kernel.name} {threads}"] = lambda kernel=kernel, x=x, y=y: kernel.run(x, y, 1) or y
        times = measure(found, arguments.rounds, arguments.threads)
        kernels = dict.fromkeys(one.split()[0] for one in times)
        results[name] = {one: times[f"{one} 1"] / times[f"{one} {arguments.threads}"] for one in kernels} | {
            "nonzeros": csr.nnz
        }
    if shown(machine, results, arguments.json):
        return
    for name, times in results.items():
        print(f"{name:10}{times.pop('nonzeros'):12,}", *(f"{one} {ratio:.2f}" for one, ratio in times.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="layers whose name begins so")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dense", action="store_true", help="weights of few bits instead of sparse ones")
    parser.add_argument("--conv", action="store_true", help="convolutions of weights of few bits")
    parser.add_argument("--scaling", action="store_true", help="sparse layers on one thread and on --threads")
    parser.add_argument("--columns", default=_core.cpu_target(), help="of kernels, for --dense and --conv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    machine = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "column": _core.cpu_target(),
        "torch": torch.__version__,
        "load_average": os.getloadavg(),
        "batch": arguments.batch,
        "threads": arguments.threads,
    }
    if arguments.scaling:
        scaling_table(arguments, machine)
        return
    if arguments.dense or arguments.conv:
        dense_table(arguments, machine)
        return
    results = {}
    for name, rows, cols, density in LAYERS:
        if not name.startswith(arguments.only):
            continue
        found, truth, nnz = contenders(rows, cols, density, arguments.batch, arguments.threads)
        scale = np.abs(truth).max()
        errors = {one: float(np.abs(run() - truth).max() / scale) for one, run in found.items()}
        for one, error in errors.items():
            assert error < (2e-2 if is_int8(one) else 1e-5), (
                f"{name}: {one} is off by {error:.2g} of the largest output"
            )
        results[name] = {"nonzeros": nnz, "us": measure(found, arguments.rounds, arguments.threads), "error": errors}
    if arguments.json:
        print(json.dumps({**machine, "layers": results}, indent=2))
        return
    for key, value in machine.items():
        print(f"{key:14}{value}")
    names = list(dict.fromkeys(one for result in results.values() for one in result["us"]))
    print("\nmicroseconds" + " " * 12 + "".join(f"{name:>10}" for name in results))
    for one in names:
        print(f"{one:24}" + "".join(f"{result['us'].get(one, float('nan')):10.1f}" for result in results.values()))
    rows_ = [result["us"] for result in results.values()]
    for int8 in (False, True):
        ours = [best(times, ours=True, int8=int8) for times in rows_]
        if np.isnan(ours).all():
            continue
        print(f"\n{'int8 activations' if int8 else 'exact float32'}: times faster" + " " * 4 + "geometric mean")
        dense = [times["torch"] for times in rows_]
        lines = {
            "torch dense (F.linear)": dense,
            "scipy CSR": [times["scipy CSR"] for times in rows_],
            "MKL CSR": [times["MKL CSR"] for times in rows_],
            "best other": [best(times, ours=False, int8=int8) for times in rows_],
        }
        for one, theirs in lines.items():
            ratios = [a / b for a, b in zip(theirs, ours)]
            print(f"{one:24}" + "".join(f"{r:10.2f}" for r in ratios) + f"   {geometric(ratios):.2f}")
    print("\nload average after:", os.getloadavg())


if __name__ == "__main__":
    main()
