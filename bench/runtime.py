"""Whole networks at run time: ours from the compressed file beside torch and onnxruntime on the dense original.

    python bench/runtime.py FILE.terse ... [--batch 1] [--threads 1] [--rounds 15] [--activations int8] [--json]

The dense network is the file's own, loaded with torch and exported to ONNX; onnxruntime's int8 is static (QDQ, random
calibration: for speed only). Contenders take turns, the first call of each is thrown away, medians of wall time.
Outputs of float32 contenders are compared in the same run (1e-4 of the largest, for onnxruntime's own fusions).
"""

import argparse
import json
import os
import platform
from pathlib import Path

import numpy as np
import torch

import tersenet.runtime
from tersenet.measure.latency import compare_latency
from tersenet.measure.peers import PEERS, peer_calls


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


def compared(
    path: Path, batch: int, threads: int, rounds: int, activations: tersenet.runtime.Activations
) -> dict[str, object]:
    session = tersenet.runtime.open(path, threads=threads, batch=batch, activations=activations)
    arrays = sample(session, batch)
    calls = {"ours": lambda: first(session(*arrays)), **peer_calls(path, arrays, PEERS, threads)}
    truth = calls["torch"]()
    for name, call in calls.items():
        off = float(np.abs(call() - truth).max() / np.abs(truth).max())
        exact = "int8" not in name and (name != "ours" or activations == "float32")
        assert off < (1e-4 if exact else 0.2), f"{path.name}: {name} is off by {off:.2g}"
    times = {name: one.median_ms for name, one in compare_latency(calls, repeats=rounds, warmup=1).items()}
    return {"file_bytes": path.stat().st_size, "weight_bytes": session.weight_bytes, "ms": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--activations", choices=("float32", "int8"), default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    machine = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "load_average": os.getloadavg(),
        "batch": arguments.batch,
        "threads": arguments.threads,
        "activations": arguments.activations,
    }
    results = {
        path.name: compared(path, arguments.batch, arguments.threads, arguments.rounds, arguments.activations)
        for path in arguments.files
    }
    if arguments.json:
        print(json.dumps({**machine, "networks": results}, indent=2))
        return
    for key, value in machine.items():
        print(f"{key:14}{value}")
    print(
        f"\n{'ms':34}{'ours':>9}{'torch':>9}{'ort':>9}{'ort int8':>9}   times faster: torch, ort, ort int8; weights in memory"
    )
    for name, result in results.items():
        ms = [result["ms"].get(one, float("nan")) for one in ("ours", *PEERS)]
        ratios = "  ".join(f"{one / ms[0]:6.2f}" for one in ms[1:])
        print(f"{name:34}" + "".join(f"{one:9.3f}" for one in ms) + f"   {ratios}   {result['weight_bytes']:,}")
    print("\nload average after:", os.getloadavg())


if __name__ == "__main__":
    main()
