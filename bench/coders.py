"""Sizes and speeds of the coders beside zstd and constriction, on streams as compressed weights have them.

    python bench/coders.py [--symbols 10000000] [--rounds 7] [--json]

Streams (1 byte a symbol):
  nz5      codes by 32-means of the largest 8 % of Laplace weights, 60 steps from a linear start (3.6 bits)
  nz5even  the same after 300 steps, which spread the codes more evenly (4.2 bits)
  gap8     8-bit gaps at 8 % density
  dense4   codes by 16-means of all weights                            dense4u  15 uniform levels of all

Contenders take turns; the first round is thrown away; times are medians of the thread's CPU time, so that
other work on the machine counts only through the caches. "fresh" decodes into a new array and pays
for its page faults, "warm" into one that has been written before; zstd and constriction always
make new memory, so the ratios use "fresh". Every decoded stream is compared with what went in.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import constriction
import numpy as np
import zstandard

from tersenet import _core
from tersenet.bits import IntStream, entropy_bits
from tersenet.coding import get_coder

ZSTD19_SYMBOLS = 2_000_000  # about 1 MB/s
CONSTRICTION_SYMBOLS = 2_000_000


def lloyd(weights: np.ndarray, k: int, steps: int = 300) -> np.ndarray:
    """Codes of k-means from a linear start: Lloyd's steps on a histogram."""
    count, edges = np.histogram(weights, 65536)
    middle = (edges[1:] + edges[:-1]) / 2
    centres = np.linspace(edges[0], edges[-1], k)
    for _ in range(steps):
        owner = np.searchsorted((centres[1:] + centres[:-1]) / 2, middle)
        mass = np.bincount(owner, count, k)
        centres = np.where(mass > 0, np.bincount(owner, count * middle, k) / np.maximum(mass, 1), centres)
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, weights).astype(np.uint8)


def streams(n: int) -> dict[str, IntStream]:
    rng = np.random.default_rng(0)
    tail = rng.exponential(size=n) + np.log(1 / 0.08)  # |w| of the kept, in units of the scale
    kept = tail * rng.choice([-1.0, 1.0], n)
    dense = rng.laplace(size=n)
    level = np.clip(np.round(dense / 0.8), -7, 7) + 7
    made = {
        "nz5": (lloyd(kept, 32, steps=60), 32),
        "nz5even": (lloyd(kept, 32), 32),
        "gap8": (np.minimum(rng.geometric(0.08, n) - 1, 255), 256),
        "dense4": (lloyd(dense, 16), 16),
        "dense4u": (level, 15),
    }
    return {k: IntStream(name=k, values=v.astype(np.uint8), alphabet=a) for k, (v, a) in made.items()}


Contender = tuple[int, Callable[[], object], Callable[[object], object], Callable[[object], int]]


def contenders(stream: IntStream) -> dict[str, Contender]:
    """name -> (symbols, encode, decode the encoding, bytes of the encoding)."""
    values, alphabet, n = stream.values, stream.alphabet, len(stream)
    found: dict[str, Contender] = {}
    for coder in ("huffman", "rans", "range"):
        decode = getattr(_core, coder + "_decode")
        out = np.zeros(n, np.uint8)
        encode = getattr(_core, coder + "_encode")
        found[coder] = n, lambda f=encode: f(values, alphabet), lambda d, f=decode: f(d, n, alphabet), len
        found[coder + " warm"] = (
            n,
            (lambda f=encode: f(values, alphabet)),
            lambda d, f=decode, o=out: f(d, n, alphabet, o),
            len,
        )
        api = get_coder(coder)
        found[coder + " API"] = (
            n,
            lambda c=api: c.encode(stream),
            lambda d, c=api: c.decode(d, name="x", alphabet=alphabet, n=n).values,
            len,
        )
    for level in (1, 3, 19):
        count = min(n, ZSTD19_SYMBOLS) if level == 19 else n
        squeeze = zstandard.ZstdCompressor(level=level)
        found[f"zstd -{level}"] = (
            count,
            lambda z=squeeze, c=count: z.compress(values[:c].tobytes()),
            lambda d: np.frombuffer(zstandard.ZstdDecompressor().decompress(d), np.uint8),
            len,
        )
    count = min(n, CONSTRICTION_SYMBOLS)
    freq = np.bincount(values, minlength=alphabet)
    model = constriction.stream.model.Categorical(freq / freq.sum(), perfect=False)
    symbols = values[:count].astype(np.int32)

    def ans_encode() -> np.ndarray:
        coder = constriction.stream.stack.AnsCoder()
        coder.encode_reverse(symbols, model)
        return coder.get_compressed()

    def ans_decode(words: object) -> np.ndarray:
        return constriction.stream.stack.AnsCoder(words).decode(model, count)

    found["constriction ANS"] = count, ans_encode, ans_decode, lambda d: d.nbytes
    return found


def timed(call: Callable[[], object]) -> tuple[float, object]:
    start = time.thread_time()
    result = call()
    return time.thread_time() - start, result


def measure(stream: IntStream, rounds: int) -> dict[str, dict[str, float]]:
    rivals = contenders(stream)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
    sizes: dict[str, int] = {}
    for turn in range(rounds + 1):
        for name, (count, encode, decode, size) in rivals.items():
            if turn > 2 and name == "zstd -19":
                continue
            encode_s, data = timed(encode)
            decode_s, got = timed(lambda d=data, f=decode: f(d))
            if not np.array_equal(got, stream.values[:count]):
                raise SystemExit(f"{stream.name}: {name} did not give back what went in")
            sizes[name] = size(data)
            if turn:
                times[name].append((encode_s, decode_s))
    rows = {}
    for name, (count, *_rest) in rivals.items():
        entropy = entropy_bits(stream.values[:count]) / 8
        encode_s, decode_s = zip(*times[name], strict=True)
        rows[name] = {
            "over_entropy_percent": 100 * (sizes[name] / entropy - 1),
            "encode_mb_s": count / 1e6 / statistics.median(encode_s),
            "decode_mb_s": count / 1e6 / statistics.median(decode_s),
            "decode_mb_s_best": count / 1e6 / min(decode_s),
            "decode_mb_s_worst": count / 1e6 / max(decode_s),
        }
    for row in rows.values():
        row["decode_over_constriction"] = row["decode_mb_s"] / rows["constriction ANS"]["decode_mb_s"]
    return rows


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw_text)
    parser.add_argument("--symbols", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg() if hasattr(os, "getloadavg") else (float("nan"),) * 3
    result: dict[str, object] = {
        "machine": f"{cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "target": _core.cpu_target(),
        "load_average": load,
        "symbols": options.symbols,
    }
    if not options.json:
        for key, value in result.items():
            print(f"{key:14}{value}")
    tables = {}
    for name, stream in streams(options.symbols).items():
        rows = tables[name] = measure(stream, options.rounds)
        if options.json:
            continue
        bits = entropy_bits(stream.values) / len(stream)
        used = len(np.unique(stream.values))
        print(f"\n{name}: {bits:.3f} bits a symbol, {used} of {stream.alphabet} used; MB/s of symbols")
        heads = f"{'over H':>9}{'encode':>9}{'decode':>9}{'(worst to best)':>18}{'/ constriction':>16}"
        print(f"  {'':18}{heads}")
        for rival, row in rows.items():
            spread = f"({row['decode_mb_s_worst']:.0f} to {row['decode_mb_s_best']:.0f})"
            print(
                f"  {rival:18}{row['over_entropy_percent']:8.2f}%{row['encode_mb_s']:9.0f}"
                f"{row['decode_mb_s']:9.0f}{spread:>18}{row['decode_over_constriction']:15.1f}x"
            )
    if options.json:
        loads_after = os.getloadavg() if hasattr(os, "getloadavg") else load
        print(json.dumps({**result, "load_average_after": loads_after, "streams": tables}, indent=1))
    elif hasattr(os, "getloadavg"):
        print(f"\nload average after: {os.getloadavg()}")


if __name__ == "__main__":
    main()
