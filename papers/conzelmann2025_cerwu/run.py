"""One-shot rounding under a rate, against nearest values: `python run.py [NAME ...]`.

Published networks are rounded without labels and without training (the recipe `oneshot` at several qualities, with the range
coder), and what each file holds is scored. `gaussian` measures the distance to the rate-distortion bound. Finished rows
are kept in --work. Writes expected.json, table.md, gaussian.md, a picture for each CIFAR network, and files/.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from gaussian import SCALAR_LIMIT, gaps
from paper import Paper
from subjects import ERROR, POINTS, SUBJECTS, Batches, lost, opened, weights_of

from tersenet import artifact
from tersenet.container import decode
from tersenet.graph import Network, fold_batchnorm
from tersenet.methods.oneshot import Rounding, round_network
from tersenet.methods.round import round_others
from tersenet.report.figure import Line, figure

PAPER = Paper(__file__, __doc__)
GAUSSIAN = "gaussian"
# Of the recipe, and of rounding to nearest; 20 more are a bit a weight more.
QUALITIES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "resnet20": ((36, 40, 31, 45), (50, 58, 66)),
    "resnet32": ((32, 38), (50,)),
    "resnet56": ((28, 33, 37), (50,)),
    "mobilenet_v1_025": ((70, 80), (76,)),
    "mobilenet_v1_075": ((80, 84), ()),
    "mobilenet_v2": ((78, 83), ()),
    "squeezenet": ((70, 76), ()),
    "stories260k": ((90, 92), (84,)),
    "silero_vad": ((70, 84), (80,)),
    "ad01": ((90, 96), (80,)),
}
# Of the recipe.
SHIPPED = {"trellis": 32}
# Other settings of the step `quantize`. The autoencoder has 196 windows that overlap by four fifths, and second moments of
# 640 inputs: of five dampings the largest was best on either half of them, rounded with the other.
SETTINGS = {"ad01": {"damping": 3.0}}
# The row whose file is committed.
KEPT = {"resnet20": 36, "resnet32": 32, "resnet56": 28}


def main() -> None:
    arguments = PAPER.arguments([*SUBJECTS, GAUSSIAN])
    for name in arguments.names:
        if name == GAUSSIAN:
            started = time.process_time()
            PAPER.record(name, {"rows": gaps(), "cpu_seconds": round(time.process_time() - started)})
        else:
            PAPER.record(name, measured(name, arguments.work))
        write(PAPER.expected())


def stored(net: Network, batches: Batches | None, rounding: Rounding, name: str) -> bytes:
    """The file that the recipe `oneshot` gives on these inputs; without inputs and price, nearest values."""
    folded = fold_batchnorm(net)
    round_network(folded, batches, rounding, outputs=SUBJECTS[name].outputs)
    round_others(folded)
    return artifact.to_bytes(folded, "range")


def measured(name: str, work: Path) -> dict[str, Any]:
    """Every row, and the network as it was."""
    path = work / f"{name}.json"
    done = json.loads(path.read_text()) if path.exists() else {"rows": {}}
    net, batches, scores = opened(name)
    if "dense" not in done:
        done |= {"weights": weights_of(net), "dense": {key: score(net) for key, score in scores.items()}}
    ours, nearest = QUALITIES[name]
    for way, qualities in (("oneshot", ours), ("nearest", nearest)):
        for quality in qualities:
            row = f"{way} {quality:g}"
            if row in done["rows"]:
                continue
            started, used = time.time(), time.process_time()
            rate = (
                Rounding(quality, **(SHIPPED | SETTINGS.get(name, {})))
                if way == "oneshot"
                else Rounding(quality, rate_weight=0.0)
            )
            file = stored(net, batches if way == "oneshot" else None, rate, name)
            took = {"seconds": round(time.time() - started, 1), "cpu_seconds": round(time.process_time() - used, 1)}
            back = artifact.from_contents(decode(file, max_bytes=1 << 28))
            bits = round(8 * len(file) / done["weights"], 3)
            done["rows"][row] = {"bytes": len(file), "bits_a_weight": bits}
            done["rows"][row] |= {key: score(back) for key, score in scores.items()} | took
            path.write_text(json.dumps(done))
            if way == "oneshot" and quality == KEPT.get(name):
                (PAPER.folder / "files").mkdir(exist_ok=True)
                (PAPER.folder / "files" / f"{name}.terse").write_bytes(file)
            print(time.strftime("%H:%M:%S"), name, row, done["rows"][row], flush=True)
    return done


def write(expected: dict[str, Any]) -> None:
    table = [
        "| network | way | bytes | bits a weight | score before | after | lost | also | target: bits | lost | met | CPU seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, subject in SUBJECTS.items():
        if name not in expected:
            continue
        found, key = expected[name], subject.score
        for row, one in found["rows"].items():
            before, after = found["dense"][key], one[key]
            gone = lost(subject, before, after)
            met = one["bits_a_weight"] <= subject.bits and gone <= subject.lost
            unit = " %" if key == ERROR else ""
            also = f"{one['agreed, %']:.1f} % agreed" if "agreed, %" in one else "-"
            table.append(
                f"| {subject.title} ({key}) | {row} | {one['bytes']:,} | {one['bits_a_weight']:.2f} | {before:g} | {after:g} "
                f"| {gone:g}{unit} | {also} | {subject.bits:g} | {subject.lost:g}{unit} | {'yes' if met else 'no'} "
                f"| {one['cpu_seconds']:.0f} |"
            )
        if key == POINTS and name.startswith("resnet"):
            PAPER.write_picture(name, picture(subject.title, found))
    PAPER.write_table(table)
    if GAUSSIAN in expected:
        lines = ["| rate, way | bits | gap to the bound, bits | price | damping | pull |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {row} | {one['bits']:.2f} | {one['gap_bits']:.3f} | {one['price']:g} | {one['damping']:g} | {one['pull']:g} |"
            for row, one in expected[GAUSSIAN]["rows"].items()
        ]
        lines.append(f"| any, the scalar limit | - | {SCALAR_LIMIT:.3f} | - | - | - |")
        (PAPER.folder / "gaussian.md").write_text("\n".join(lines) + "\n")


def picture(title: str, found: dict[str, Any]) -> str:
    """Size against accuracy, with the original's."""
    lines = []
    for way, said in (("oneshot", "one shot, 2048 inputs"), ("nearest", "nearest")):
        rows = [one for row, one in found["rows"].items() if row.startswith(way)]
        lines.append(Line(said, sorted((one["bits_a_weight"], one[POINTS]) for one in rows)))
    dense = found["dense"][POINTS]
    return figure(
        [one for one in lines if one.points],
        title=f"{title}, rounded once without labels",
        x="bits a weight, the whole file counted",
        y="CIFAR-10 test accuracy, %",
        y_range=(dense - 5, dense + 0.5),
        reference=(dense, "float32"),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
