"""NNCodec (ISO/IEC 15938-17) on the weights that `quantize` rounds, by hand, in an environment of its own: it pins numpy < 2.

    python bench/against_nncodec.py export resnet20 OUT                  # here: the network, BatchNorm folded, as arrays
    python bench/against_nncodec.py encode OUT --qp -24 -22 -20          # there: pip install nncodec==2.1.3 --no-deps, numpy<2, pandas, ...
    python bench/against_nncodec.py score resnet20 OUT                   # here: bytes, bits a weight and test accuracy of each

Dependent quantisation and its defaults else; `--rdoq` weighs bits as well. Packages that its modules import and coding does not use are stood in for.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

PAPERS = Path(__file__).parents[1] / "papers"
UNUSED = (
    "cv2",
    "flwr",
    "h5py",
    "pandas",
    "ptflops",
    "sentencepiece",
    "sklearn",
    "tensorflow",
    "torchmetrics",
    "torchvision",
    "wandb",
)


class Unused(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what is not installed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] in UNUSED else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        stand_in: Any = mock.MagicMock(name=spec.name, __path__=[], __spec__=spec)
        return stand_in

    def exec_module(self, module: ModuleType) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(required=True)
    for name, run in (("export", export), ("score", score)):
        one = what.add_parser(name)
        one.add_argument("network", choices=("resnet20", "resnet32", "resnet56"))
        one.set_defaults(run=run)
        one.add_argument("folder", type=Path)
    one = what.add_parser("encode")
    one.add_argument("folder", type=Path)
    one.add_argument("--qp", type=int, nargs="+", required=True)
    one.add_argument("--rdoq", type=float, default=0.0, help="its lambda_scale")
    one.set_defaults(run=encode)
    arguments = parser.parse_args()
    arguments.run(arguments)


def folded(name: str) -> tuple[Any, Any]:
    """The published network with BatchNorm folded, and how test accuracy is found."""
    sys.path[:0] = [str(PAPERS), str(PAPERS / "conzelmann2025_cerwu")]
    from subjects import opened

    from tersenet.graph import fold_batchnorm

    net, _, scores = opened(name)
    return fold_batchnorm(net), next(iter(scores.values()))


def export(arguments: argparse.Namespace) -> None:
    net, _ = folded(arguments.network)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.folder / "weights.npz", **{name: net.dense(name).numpy() for name in net.graph.parameters})


def encode(arguments: argparse.Namespace) -> None:
    sys.meta_path.append(Unused())
    from nncodec import nnc

    weights = dict(np.load(arguments.folder / "weights.npz"))
    for qp in arguments.qp:
        path = arguments.folder / f"qp{qp}-rdoq{arguments.rdoq:g}.nnc"
        started = time.process_time()
        nnc.compress(weights, bitstream_path=str(path), qp=qp, lambda_scale=arguments.rdoq)
        seconds = time.process_time() - started
        np.savez(path.with_suffix(".npz"), **nnc.decompress(str(path)))
        path.with_suffix(".json").write_text(
            json.dumps({"bytes": path.stat().st_size, "cpu_seconds": round(seconds, 1)})
        )
        print(path.name, path.stat().st_size, "bytes", flush=True)


def score(arguments: argparse.Namespace) -> None:
    import torch

    net, accuracy = folded(arguments.network)
    weights = sum(net.dense(layer.weight).numel() for layer in net.weighted_layers())
    print("| settings | bytes | bits a weight | top-1, % | CPU seconds |\n|---|---|---|---|---|")
    for path in sorted(arguments.folder.glob("*.json"), key=lambda path: json.loads(path.read_text())["bytes"]):
        row, decoded = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
        for name in net.graph.parameters:
            net.set_tensor(name, torch.from_numpy(decoded[name]).reshape(net.dense(name).shape).float())
        bits = 8 * row["bytes"] / weights
        print(
            f"| {path.stem} | {row['bytes']:,} | {bits:.2f} | {accuracy(net):g} | {row['cpu_seconds']:g} |", flush=True
        )


if __name__ == "__main__":
    main()
