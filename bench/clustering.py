"""Exact clustering of many weights against scikit-learn's KMeans, one thread each, in one run.

    python bench/clustering.py [--weights 100000000] [--k 32] [--json]
    python bench/clustering.py --vectors [--side 4096] [--dim 8] [--k 256] [--json]

Ours: `cluster(values, k)`, the optimum and every weight's index, on all weights. Theirs: KMeans with a
linear start, n_init 1 and default tolerance on a sample, its time scaled by weights / sample (a step of it is
linear in n). Both are judged by mean squared error on the same sample, each with the codebook it makes of
that sample; and on all weights, where theirs is still the sample's.

With --vectors: product quantization of a square layer, all its sub-vectors to one codebook, against MiniBatchKMeans (batches
of 16,384) on all of them and KMeans (k-means++, n_init 1) on as many as ours starts on; each judged by mean squared error
over the whole layer.
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
from tersenet.forms._vector_kmeans import cluster_vectors, costs, nearest, sample

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

VECTORS_TABLE = """\
{side} x {side} float32 weights, Laplace(0.01), as {vectors:,} sub-vectors of {dim} to {k} centroids, one thread
  ours, all             {ours_cpu_s:8.2f} s of CPU, {ours_s:8.2f} s  mean squared error {mse_ours:.5e}
  MiniBatchKMeans, all  {minibatch_cpu_s:8.2f} s of CPU, {minibatch_s:8.2f} s  mean squared error {mse_minibatch:.5e}
  KMeans, a sample      {kmeans_cpu_s:8.2f} s of CPU, {kmeans_s:8.2f} s  mean squared error {mse_kmeans:.5e}
  of {sampled:,}; scikit-learn {sklearn}; {machine}; load {load_before} before, {load_after} after"""


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


def measure_vectors(side: int, dim: int, k: int) -> dict[str, Any]:
    import sklearn
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    points = laplace(side * side).reshape(-1, dim)
    load_before = round(os.getloadavg()[0], 2)
    part, _ = sample(points, None, k, 0)

    def timed(fit: Any) -> tuple[float, float, float]:
        start, used = time.perf_counter(), time.process_time()
        centroids = fit()
        seconds, used = time.perf_counter() - start, time.process_time() - used
        return seconds, used, float(costs(points, centroids[nearest(points, centroids)]).sum()) / points.size

    with threadpool_limits(limits=1):
        ours = timed(lambda: cluster_vectors(points, k)[0])
        minibatch = MiniBatchKMeans(k, n_init=1, random_state=0, batch_size=16_384)
        theirs = timed(lambda: minibatch.fit(points).cluster_centers_.astype(np.float32))
        sampled = timed(lambda: KMeans(k, n_init=1, random_state=0).fit(part).cluster_centers_.astype(np.float32))
    return {
        "side": side,
        "dim": dim,
        "k": k,
        "vectors": len(points),
        "sampled": len(part),
        **_named("ours", ours),
        **_named("minibatch", theirs),
        **_named("kmeans", sampled),
        "machine": machine(),
        "sklearn": sklearn.__version__,
        "load_before": load_before,
        "load_after": round(os.getloadavg()[0], 2),
    }


def _named(name: str, found: tuple[float, float, float]) -> dict[str, float]:
    return {f"{name}_s": found[0], f"{name}_cpu_s": found[1], f"mse_{name}": found[2]}


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--weights", type=int, default=100_000_000)
    parser.add_argument("--k", type=int, help="32, or 256 with --vectors")
    parser.add_argument("--vectors", action="store_true", help="product quantization instead of single weights")
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the layer, with --vectors")
    parser.add_argument("--dim", type=int, default=8, help="weights a sub-vector, with --vectors")
    parser.add_argument("--repeats", type=int, default=3, help="of ours; the best and the worst are shown")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.k = options.k or (256 if options.vectors else 32)
    if options.vectors and (options.dim < 1 or options.side < 1 or options.side % options.dim):
        parser.error("give a side that dim divides")
    if options.weights < options.k or options.k < 1 or options.repeats < 1:
        parser.error("give k >= 1, at least k weights, and repeats >= 1")
    if options.vectors:
        result = measure_vectors(options.side, options.dim, options.k)
    else:
        result = measure(options.weights, options.k, options.repeats)
    if options.json:
        print(json.dumps(result))
        return
    print((VECTORS_TABLE if options.vectors else TABLE).format(**result))


if __name__ == "__main__":
    main()
