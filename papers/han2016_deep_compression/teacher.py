"""Deep Compression of LeNet-300-100 with the uncompressed network as teacher, and without: `python teacher.py [--seeds 2]`.

Three shares of weights that stay, each with labels alone and with the network that the run began with as teacher
(Hinton et al. 2015, arXiv:1503.02531; 90 % of the loss), all else equal. Runs are kept in --work and go on from there
after an interruption. Finished ones are written to teacher.json, from which teacher.md and teacher.svg are made.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from pathlib import Path
from typing import Any

import torch
from run import HERE, baseline, show

import tersenet
from tersenet.recipes import Recipe
from tersenet.report.figure import Line, figure
from tersenet.zoo import entry, load, network

EXPECTED = HERE / "teacher.json"
NAME = "lenet_300_100"
# Of the paper's shares, 8, 9 and 26 % of the weights of each layer.
SHARES = (1.0, 0.5, 0.25)
KEEP = {"ip1": 0.08, "ip2": 0.09, "ip3": 0.26}
TEACHERS: dict[str, dict[str, Any] | None] = {"labels": None, "teacher": {"temperature": 4, "labels": 0.1}}
SAID = {"labels": "labels alone", "teacher": "the uncompressed network teaches"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/han2016"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = load("mnist", preprocess=entry(NAME).preprocess)
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)
        dense = baseline(network(NAME), NAME, data, seed, arguments.work)
        for share in SHARES:
            for who in TEACHERS:
                work = arguments.work / f"teacher-{who}-{share:g}-{seed}"
                record(f"{who} {share:g}", seed, compressed(dense, data, share, who, seed, work))
                write_results()


def recipe(share: float, who: str) -> Recipe:
    """Deep Compression in its three stages, shorter than in recipes/."""
    smooth = {} if who == "teacher" else {"label_smoothing": 0.1}
    prune = {"lr": 0.05, "weight_decay": 0.0002, **smooth}
    steps = [
        {
            "id": "prune",
            "keep": {layer: share * keep for layer, keep in KEEP.items()},
            "iterations": 4,
            "train": {"epochs": 3, **prune},
            "last_train": {"epochs": 10, **prune},
            "teacher": TEACHERS[who],
        },
        {
            "id": "store",
            "bits": 5,
            "dtype": "float16",
            "train": {"epochs": 2, "optimiser": "adam", "lr": 0.0001, **smooth},
            "teacher": TEACHERS[who],
        },
        {"id": "round"},
    ]
    return Recipe.model_validate({"name": f"{NAME}_{who}", "steps": steps, "coder": "huffman"})


def compressed(dense: Any, data: Any, share: float, who: str, seed: int, work: Path) -> dict[str, Any]:
    result = tersenet.compress(
        dense,
        recipe=recipe(share, who),
        train=data.train,
        validate=data.validate,
        test=data.test,
        seed=seed,
        run_dir=work,
        source=NAME,
        on_event=show,
    )
    final = result.record.final
    return {
        "file_bytes": result.file_bytes,
        "test_error_before": error(final["original"]["test"]),
        "test_error": error(final["test"]),
        "validation_error": error(final["validate"]),
        "minutes": round(sum(stage["seconds"] for stage in result.record.stages) / 60, 1),
        "machine": result.record.machine,
        "command": f"python papers/{HERE.name}/teacher.py --seeds {seed + 1}",
        "python": platform.python_version(),
    }


def error(score: dict[str, Any]) -> float:
    return round(100 - 100 * score["accuracy"], 2)


def record(name: str, seed: int, found: dict[str, Any]) -> None:
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    expected.setdefault(name, {})[str(seed)] = found
    EXPECTED.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(name, seed, found, flush=True)


def write_results() -> None:
    expected = json.loads(EXPECTED.read_text())
    rows = [
        "| weights kept | learns from | bytes | test error before -> after, % | each seed | minutes |",
        "|---|---|---|---|---|---|",
    ]
    points: dict[str, list[tuple[float, float]]] = {who: [] for who in TEACHERS}
    for share in SHARES:
        for who in TEACHERS:
            runs = list(expected.get(f"{who} {share:g}", {}).values())
            if not runs:
                continue
            mean = {
                key: statistics.mean(run[key] for run in runs)
                for key in ("file_bytes", "test_error_before", "test_error", "minutes")
            }
            points[who].append((mean["file_bytes"], mean["test_error"]))
            kept = ", ".join(f"{100 * share * keep:.3g}" for keep in KEEP.values())
            seeds = ", ".join(f"{run['test_error']:.2f}" for run in runs)
            rows.append(
                f"| {kept} % | {SAID[who]} | {mean['file_bytes']:,.0f} "
                f"| {mean['test_error_before']:.2f} -> {mean['test_error']:.2f} | {seeds} | {mean['minutes']:.1f} |"
            )
    (HERE / "teacher.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows), flush=True)
    lines = [Line(SAID[who], found, dashed=who == "labels") for who, found in points.items() if found]
    picture = figure(
        lines, title="LeNet-300-100, Deep Compression", x="file, bytes", y="test error on MNIST, %", log_x=True
    )
    (HERE / "teacher.svg").write_text(picture)


if __name__ == "__main__":
    main()
