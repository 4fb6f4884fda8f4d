"""Exact clustering of many weights against scikit-learn's KMeans, one thread each, in one run.

    python bench/clustering.py [--weights 100000000] [--k 32] [--json]

Ours: `cluster(values, k)`, the optimum and every weight's index, on all weights. Theirs: KMeans with a
linear start, n_init 1 and default tolerance on a sample, its time scaled by weights / sample (a step of it is
linear in n). Both are judged by mean squared error on the same sample, each with the codebook it makes of
that sample; and on all weights, where theirs is still the sample's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from tersenet.forms._kmeans import assign, cluster, initial_centroids

SAMPLE = 1_000_000

TABLE = """\
{weights:,} float32 weights, Laplace(0.01), to {k} centroids, one thread
  ours: optimum and indices   {ours_s:9.3f} s  (best of {repeats}, worst {ours_s_worst:.3f} s)
  scikit-learn {sklearn:14} {sklearn_scaled_s:9.1f} s  \
({sklearn_sample_s:.2f} s for {sklearn_sample:,}, {sklearn_iterations} iterations)
  ratio                       {ratio:9.0f} x
  mean squared error, sample  {mse_ours_sample:.5e} ours, {mse_sklearn_sample:.5e} theirs
  mean squared error, all     {mse_ours_all:.5e} ours, {mse_sklearn_all:.5e} theirs
  {machine}; load {load_before} before, {load_after} after"""


def laplace(count: int, seed: int = 0) -> np.ndarray:
    """float32[count], Laplace of scale 0.01 as trained weights are; drawn in blocks to spare memory."""
    values = np.empty(count, np.float32)
    rng = np.random.default_rng(seed)
    for at in range(0, count, SAMPLE):
        values[at : at + SAMPLE] = rng.laplace(scale=0.01, size=min(SAMPLE, count - at))
    return values


def mean_squared_error(values: np.ndarray, centroids: np.ndarray) -> float:
    """float64 throughout, in blocks."""
    total = 0.0
    for at in range(0, values.size, SAMPLE):
        block = values[at : at + SAMPLE]
        total += float(((block - centroids[assign(block, centroids)].astype(np.float64)) ** 2).sum())
    return total / values.size


def machine() -> str:
    """The processor's own name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, numpy {np.__version__}"


def measure(count: int, k: int, repeats: int) -> dict[str, Any]:
    import sklearn
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    values = laplace(count)
    sample = values[: min(SAMPLE, count)].copy()
    load_before = round(os.getloadavg()[0], 2)

    ours_s = []
    for _ in range(repeats):
        start = time.perf_counter()
        centroids, _ = cluster(values, k)
        ours_s.append(time.perf_counter() - start)

    guess = initial_centroids(sample, k, "linear")
    with threadpool_limits(limits=1):
        theirs = KMeans(k, init=guess.reshape(-1, 1), n_init=1)
        start = time.perf_counter()
        theirs.fit(sample.reshape(-1, 1))
        sample_s = time.perf_counter() - start
    their_centroids = np.sort(theirs.cluster_centers_.astype(np.float32).ravel())
    on_sample, _ = cluster(sample, k)
    theirs_s = sample_s * count / sample.size
    return {
        "weights": count,
        "k": k,
        "ours_s": min(ours_s),
        "ours_s_worst": max(ours_s),
        "repeats": repeats,
        "sklearn_sample": sample.size,
        "sklearn_sample_s": sample_s,
        "sklearn_iterations": int(theirs.n_iter_),
        "sklearn_scaled_s": theirs_s,
        "ratio": theirs_s / min(ours_s),
        "mse_ours_all": mean_squared_error(values, centroids),
        "mse_sklearn_all": mean_squared_error(values, their_centroids),
        "mse_ours_sample": mean_squared_error(sample, on_sample),
        "mse_sklearn_sample": mean_squared_error(sample, their_centroids),
        "machine": machine(),
        "sklearn": sklearn.__version__,
        "load_before": load_before,
        "load_after": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--weights", type=int, default=100_000_000)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="of ours; the best and the worst are shown")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.weights < options.k or options.k < 1 or options.repeats < 1:
        parser.error("give k >= 1, at least k weights, and repeats >= 1")
    result = measure(options.weights, options.k, options.repeats)
    if options.json:
        print(json.dumps(result))
        return
    print(TABLE.format(**result))


if __name__ == "__main__":
    main()
