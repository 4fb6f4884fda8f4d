"""Whole networks at run time: ours from the compressed file beside torch and onnxruntime on the dense original.

    python bench/runtime.py FILE.terse ... [--batch 1] [--threads 1] [--rounds 15] [--json]

The dense network is the file's own, loaded with torch and exported to ONNX; onnxruntime's int8 is static (QDQ, random
calibration: for speed only). Contenders take turns, the first call of each is thrown away, medians of wall time.
Outputs of float32 contenders are compared in the same run (1e-4 of the largest, for onnxruntime's own fusions).
"""

import argparse
import json
import logging
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import tersenet
import tersenet.runtime

Run = Callable[[], np.ndarray]


def sample(session: tersenet.runtime.Session, batch: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        rng.standard_normal((batch, *one.shape[1:])).astype(np.float32)
        if one.dtype == "float32"
        else rng.integers(0, 64, (batch, *one.shape[1:]))
        for one in session.inputs
    ]


def first(output: object) -> np.ndarray:
    return output[0] if isinstance(output, (tuple, list)) else output


def onnx_runs(network: torch.nn.Module, arrays: list[np.ndarray], threads: int, folder: Path) -> dict[str, Run]:
    """onnxruntime in float32 and int8; empty where it, or the export, is not to be had."""
    try:
        import onnxruntime
        from onnxruntime import quantization
    except ImportError:
        return {}
    logging.getLogger().setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(4)
    names = [f"x{i}" for i in range(len(arrays))]
    dense, rounded = folder / "dense.onnx", folder / "int8.onnx"
    given = tuple(torch.from_numpy(array) for array in arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, given, str(dense), input_names=names, dynamo=False)
    feed = dict(zip(names, arrays))

    class Reader(quantization.CalibrationDataReader):
        left = [feed]

        def get_next(self) -> dict | None:
            return self.left.pop() if self.left else None

    paths = {"onnxruntime": dense}
    try:
        quantization.quantize_static(dense, rounded, Reader(), per_channel=True)
        paths["onnxruntime int8"] = rounded
    except Exception as error:  # noqa: BLE001 - a peer that cannot is left out, and said so
        print(f"onnxruntime int8: left out ({type(error).__name__})")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    found: dict[str, Run] = {}
    for name, path in paths.items():
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        found[name] = lambda session=session: session.run(None, feed)[0]
    return found


def measure(found: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, run in found.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def compared(path: Path, batch: int, threads: int, rounds: int) -> dict[str, object]:
    network = tersenet.load(path, dense=True).eval()
    session = tersenet.runtime.open(path, threads=threads, batch=batch)
    arrays = sample(session, batch)
    given = [torch.from_numpy(array) for array in arrays]
    found: dict[str, Run] = {
        "ours": lambda: first(session(*arrays)),
        "torch": lambda: first(network(*given)).numpy(),
    }
    with tempfile.TemporaryDirectory() as folder:
        found.update(onnx_runs(network, arrays, threads, Path(folder)))
    truth = found["torch"]()
    for name, run in found.items():
        off = float(np.abs(run() - truth).max() / np.abs(truth).max())
        assert "int8" in name or off < 1e-4, f"{path.name}: {name} is off by {off:.2g}"
    times = {name: statistics.median(one) for name, one in measure(found, rounds).items()}
    return {"file_bytes": path.stat().st_size, "weight_bytes": session.weight_bytes, "ms": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    machine = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "load_average": os.getloadavg(),
        "batch": arguments.batch,
        "threads": arguments.threads,
    }
    results = {path.name: compared(path, arguments.batch, arguments.threads, arguments.rounds) for path in arguments.files}
    if arguments.json:
        print(json.dumps({**machine, "networks": results}, indent=2))
        return
    for key, value in machine.items():
        print(f"{key:14}{value}")
    print(f"\n{'ms':34}{'ours':>9}{'torch':>9}{'ort':>9}{'ort int8':>9}   times faster: torch, ort, ort int8; weights in memory")
    for name, result in results.items():
        ms = [result["ms"].get(one, float("nan")) for one in ("ours", "torch", "onnxruntime", "onnxruntime int8")]
        ratios = "  ".join(f"{one / ms[0]:6.2f}" for one in ms[1:])
        print(f"{name:34}" + "".join(f"{one:9.3f}" for one in ms) + f"   {ratios}   {result['weight_bytes']:,}")
    print("\nload average after:", os.getloadavg())


if __name__ == "__main__":
    main()
