"""Global average pooling in place of LeNet-5's fully connected layers: `python run.py [--seeds 3]`.

The published LeNet-5 teaches; recipe.yaml says what is done. The test set is scored at the end: as it is, and on
pictures of 40x40 pixels, once with a margin of zeros and once enlarged. Runs are kept in --work and go on from there
after an interruption. Finished ones are written to expected.json, from which table.md is made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import tersenet
from tersenet import runtime
from tersenet.graph import Network
from tersenet.zoo import entry, load, load_weights, network

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
NAME = "lenet5"
PUBLISHED = "models/lenet-mnist/lenet5_original.safetensors"
SIDE = 40
# What becomes of a test picture before the network sees it.
SIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "28": lambda x: x,
    f"{SIDE}, margin of zeros": lambda x: F.pad(x, [(SIDE - 28) // 2] * 4),
    f"{SIDE}, enlarged": lambda x: F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/lin2014"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for seed in range(arguments.seeds):
        record(seed, reproduce(seed, arguments.work))
        write_table()


def reproduce(seed: int, work: Path) -> dict[str, object]:
    data = load("mnist", preprocess=entry(NAME).preprocess)
    old = load_weights(network(NAME), Path(os.environ["TERSENET_DATA"]) / PUBLISHED)
    result = tersenet.compress(
        old,
        recipe=HERE / "recipe.yaml",
        train=data.train,
        validate=data.validate,
        test=data.test,
        seed=seed,
        run_dir=work / str(seed),
        source=NAME,
        on_event=show,
    )
    files = HERE / "files"
    files.mkdir(exist_ok=True)
    result.save(files / f"{NAME}-{seed}.terse")
    return {
        "parameters_before": parameters(old),
        "parameters": parameters(result.network),
        "file_bytes": result.file_bytes,
        "test_accuracy_before": percent(result.record.final["original"]["test"]["accuracy"]),
        "test_accuracy": {size: percent(score(result.network, data.test, SIZES[size])) for size in SIZES},
        "validation_accuracy": percent(result.record.final["validate"]["accuracy"]),
        "runtime_distance": {size: distance(result.data, result.network, data.test, SIZES[size]) for size in SIZES},
        "minutes": round(sum(stage["seconds"] for stage in result.record.stages) / 60, 1),
        "machine": result.record.machine,
        "sha256": hashlib.sha256(result.data).hexdigest(),
    }


@torch.no_grad()
def score(model: Network, test: object, size: Callable[[Tensor], Tensor]) -> float:
    """Share of right answers to pictures of another size."""
    model.eval()
    right = total = 0
    for x, y in test.batches(500):
        right += int((model(size(x)).argmax(1) == y).sum())
        total += len(y)
    return right / total


@torch.no_grad()
def distance(data: bytes, model: Network, test: object, size: Callable[[Tensor], Tensor]) -> float:
    """The largest difference of the runtime's answers from torch's, relative to the largest answer."""
    x = size(test.batch(torch.arange(64))[0])
    answers = runtime.open_bytes(data, threads=1, shapes=[tuple(x.shape[1:])])(x.numpy())
    expected = model.eval()(x).numpy()
    return float(f"{np.abs(answers - expected).max() / np.abs(expected).max():.1e}")


def parameters(model: nn.Module) -> int:
    tensors = model.tensors() if isinstance(model, Network) else dict(model.named_parameters())
    return sum(tensor.numel() for tensor in tensors.values())


def percent(share: float) -> float:
    return round(100 * share, 2)


def show(event: dict[str, object]) -> None:
    if event["kind"] == "stage" or (event["kind"] == "train" and event.get("stage") == "epoch"):
        keys = ("kind", "label", "epoch", "train_loss", "validation_accuracy", "seconds")
        print(time.strftime("%H:%M:%S"), {key: event[key] for key in keys if key in event}, flush=True)


def record(seed: int, found: dict[str, object]) -> None:
    """Put a finished run into expected.json, beside those of other seeds."""
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    command = f"python papers/{HERE.name}/run.py --seeds {seed + 1}"
    expected[str(seed)] = found | {"command": command, "python": platform.python_version()}
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(seed, found, flush=True)


def write_table() -> None:
    expected = json.loads(EXPECTED.read_text())
    sizes = " | ".join(f"at {size}" for size in SIZES)
    lines = [
        f"| seed | parameters | file, bytes | test accuracy of LeNet-5, % | {sizes} | points lost | minutes |",
        "|---|---|---|---|" + "---|" * len(SIZES) + "---|---|",
    ]
    for seed, run in expected.items():
        accuracy = " | ".join(f"{run['test_accuracy'][size]:.2f}" for size in SIZES)
        lost = run["test_accuracy_before"] - run["test_accuracy"]["28"]
        lines.append(
            f"| {seed} | {run['parameters_before']:,} -> {run['parameters']:,} | {run['file_bytes']:,} "
            f"| {run['test_accuracy_before']:.2f} | {accuracy} | {lost:.2f} | {run['minutes']:.1f} |"
        )
    (HERE / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
