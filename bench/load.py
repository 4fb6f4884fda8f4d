"""From disk to dense tensors, and to a first answer: a compressed AlexNet against torch.load, both warm, in one run.

python bench/load.py [--rounds 7] [--threads 1] [--json] [--folder KEPT]

Random weights at the densities and codebook sizes of Han et al. 2016, table 4 (256 shared values in convolutions, 32 in
fully connected layers). Contenders take turns; the outputs are compared in the same run. "answer" is open and run one
picture: ours by tersenet.runtime with kernels that were chosen before, theirs torch.load, load_state_dict, forward. CPU
times are those of the process, all threads together. In processes of their own: memory at its peak while the file is
opened, above what the imports took, and the CPU time of importing tersenet.runtime after numpy, the best of seven.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tersenet import artifact, runtime
from tersenet.container import read_dense
from tersenet.forms import Codebook, Sparse
from tersenet.graph import capture
from tersenet.methods.prune import keep_largest
from tersenet.zoo import network

# Share of the weights kept in each layer (Han et al. 2015, table 4).
KEPT = (0.84, 0.38, 0.35, 0.37, 0.37, 0.09, 0.09, 0.25)


def build(folder: Path) -> tuple[Path, Path]:
    """The original as a PyTorch checkpoint and the compressed file; both read back once to warm the page cache."""
    torch.manual_seed(0)
    model = network("alexnet").eval()
    net = capture(model, torch.zeros(2, 3, 227, 227))
    for layer, kept in zip(net.weighted_layers(), KEPT, strict=True):
        k = 256 if layer.op == "conv2d" else 32
        weight = torch.distributions.Laplace(0.0, 0.01).sample(net.dense(layer.weight).shape)
        weight = keep_largest(weight, kept)
        form = Sparse.fit(weight, values=partial(Codebook.fit, k=k, init="linear"))
        net.attach(layer.weight, form)
    terse, original = folder / "alexnet.terse", folder / "alexnet.pt"
    artifact.save(net, terse)
    torch.save({name: tensor.clone() for name, tensor in net.tensors().items()}, original)
    return terse, original


# VmHWM, not ru_maxrss: that one begins at what the parent had.
PEAK = """
import sys
import numpy
import tersenet.runtime as runtime
def memory(name):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))
before = memory("VmRSS")
session = runtime.open(sys.argv[1], threads=int(sys.argv[2]))
print(memory("VmHWM") - before, session.weight_bytes)
"""
IMPORT = """
import resource
import numpy
def now():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = now()
import tersenet.runtime
print(1e3 * (now() - before))
"""


def child(code: str, *arguments: str) -> list[float]:
    """The numbers that a Python process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of both")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep the two files here, and take them where they are")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        os.environ["TERSENET_CACHE"] = name
        folder = arguments.folder or Path(name)
        terse, original = folder / "alexnet.terse", folder / "alexnet.pt"
        if not (terse.exists() and original.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            build(folder)
        contenders = {
            "terse": lambda: read_dense(terse),
            "torch.load": lambda: torch.load(original, weights_only=True),
        }
        reference, decoded = contenders["torch.load"](), contenders["terse"]()
        for tensor_name, tensor in reference.items():
            assert np.array_equal(decoded[tensor_name], tensor.numpy()), tensor_name
        del reference, decoded
        x = np.random.default_rng(0).standard_normal((1, 3, 227, 227), dtype=np.float32)
        with torch.device("meta"):
            skeleton = network("alexnet").eval()

        def theirs() -> np.ndarray:
            skeleton.load_state_dict(torch.load(original, weights_only=True), assign=True)
            with torch.no_grad():
                return skeleton(torch.from_numpy(x)).numpy()

        opened = partial(runtime.open, terse, threads=arguments.threads)
        opened()  # chooses kernels, which TERSENET_CACHE keeps
        contenders["terse answer"] = lambda: opened()(x)
        contenders["torch answer"] = theirs
        ours, truth = contenders["terse answer"](), theirs()
        assert np.abs(ours - truth).max() <= 1e-5 * np.abs(truth).max()
        session = opened()
        session(x)
        memory = {"weights": session.weight_bytes, "values": session.value_bytes}
        del session
        times: dict[str, list[float]] = {contender: [] for contender in contenders}
        cpu: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(arguments.rounds):
            for contender, load in contenders.items():
                start, used = time.perf_counter(), time.process_time()
                loaded = load()
                times[contender].append(1e3 * (time.perf_counter() - start))
                cpu[contender].append(1e3 * (time.process_time() - used))
                del loaded
        peak, run_form = child(PEAK, str(terse), str(arguments.threads))
        found = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {arguments.threads} threads, load {os.getloadavg()[0]:.1f}",
            "file_bytes": {one: (terse if one.startswith("terse") else original).stat().st_size for one in contenders},
            "median_ms": {contender: round(statistics.median(taken), 1) for contender, taken in times.items()},
            "min_ms": {contender: round(min(taken), 1) for contender, taken in times.items()},
            "median_cpu_ms": {contender: round(statistics.median(taken), 1) for contender, taken in cpu.items()},
            "peak_bytes": {"opening": int(peak), "allowed": int(1.25 * run_form) + (32 << 20)},
            "import_above_numpy_cpu_ms": round(min(child(IMPORT)[0] for _ in range(7)), 1),
            "runtime_bytes": memory,
        }
    found["times_faster"] = round(found["median_ms"]["torch.load"] / found["median_ms"]["terse"], 2)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print(found["machine"])
    for contender in contenders:
        print(
            f"{contender:12} {found['file_bytes'][contender]:>12,} bytes  median {found['median_ms'][contender]:>7} ms"
            f"  min {found['min_ms'][contender]:>7} ms  CPU {found['median_cpu_ms'][contender]:>7} ms"
        )
    ratio, by_cpu = (found[one]["torch answer"] / found[one]["terse answer"] for one in ("median_ms", "median_cpu_ms"))
    print(
        f"first answer {ratio:.2f}x sooner ({by_cpu:.2f}x in CPU time); weights in memory {memory['weights']:,} bytes, values {memory['values']:,}"
    )
    peak_bytes = found["peak_bytes"]
    print(f"opening takes {peak_bytes['opening']:,} bytes at its peak, {peak_bytes['allowed']:,} may be")
    print(f"import of tersenet.runtime {found['import_above_numpy_cpu_ms']} ms of CPU above numpy's")
    print(f"the compressed file loads {found['times_faster']}x faster, equal to the last bit")


if __name__ == "__main__":
    main()
