"""The full chain on LeNet-300-100: train, distil, prune, share, code: `python chain.py [--work DIR] [--seed 0]`.

The shipped recipe `chain` with the published LeNet-5 as teacher to the end, and once more without it: the steps that
it teaches learn from labels then. Runs go on from --work after an interruption; chain.json and chain.md say what came out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

import tersenet
from tersenet.recipes import Recipe, load_recipe
from tersenet.zoo import entry, load, load_weights, network

HERE = Path(__file__).parent
STUDENT, TEACHER = "lenet_300_100", "lenet5"
PUBLISHED = "models/lenet-mnist/lenet5_original.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/chain"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = load_weights(network(TEACHER), Path(os.environ["TERSENET_DATA"]) / PUBLISHED).eval()
    found = {
        "taught": chain(load_recipe("chain"), teacher, arguments.seed, arguments.work / "taught"),
        "labels": chain(untaught(load_recipe("chain")), None, arguments.seed, arguments.work / "labels"),
    }
    (HERE / "chain.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    write_table(found)


def untaught(recipe: Recipe) -> Recipe:
    """The same steps, all of which learn from labels."""
    data = recipe.model_dump(mode="json")
    for step in data["steps"]:
        step["teacher"] = None
        if step["id"] == "distill":
            step["id"] = "train"
    return Recipe.model_validate(data | {"name": "chain without a teacher"})


def chain(recipe: Recipe, teacher: Any, seed: int, work: Path) -> dict[str, Any]:
    data = load("mnist", preprocess=entry(STUDENT).preprocess)
    torch.manual_seed(seed)
    result = tersenet.compress(
        network(STUDENT),
        recipe=recipe,
        train=data.train,
        validate=data.validate,
        test=data.test,
        teacher=teacher,
        seed=seed,
        run_dir=work / str(seed),
        source=STUDENT,
        on_event=show,
    )
    return {
        "stages": [
            {
                "label": stage["label"],
                "bytes": stage["coded_bytes"],
                "validation_error": error(stage["validate"]),
                "minutes": round(stage["seconds"] / 60, 1),
            }
            for stage in result.record.stages
        ],
        "file_bytes": result.file_bytes,
        "ratio": round(result.ratio, 1),
        "test_error": error(result.record.final["test"]),
        "machine": result.record.machine,
        "command": f"python papers/{HERE.name}/chain.py --seed {seed}",
        "python": platform.python_version(),
    }


def error(score: dict[str, Any]) -> float:
    return round(100 - 100 * score["accuracy"], 2)


def show(event: dict[str, Any]) -> None:
    if event["kind"] == "stage" or event.get("stage") == "epoch":
        keys = ("label", "epoch", "train_loss", "validation_accuracy", "seconds")
        print(time.strftime("%H:%M:%S"), {key: event[key] for key in keys if key in event}, flush=True)


def write_table(found: dict[str, Any]) -> None:
    rows = [
        "| stage | taught: bytes | validation error, % | labels alone: bytes | validation error, % |",
        "|---|---|---|---|---|",
    ]
    for one, other in zip(found["taught"]["stages"], found["labels"]["stages"]):
        name = one["label"] if one["label"] == other["label"] else f"{one['label']} / {other['label']}"
        rows.append(
            f"| {name} | {one['bytes']:,} | {one['validation_error']:.2f} | {other['bytes']:,} | {other['validation_error']:.2f} |"
        )
    ends = " | ".join(
        f"{run['file_bytes']:,} ({run['ratio']:.1f}x) | test {run['test_error']:.2f}" for run in found.values()
    )
    rows.append(f"| file | {ends} |")
    (HERE / "chain.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
