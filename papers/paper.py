"""What every run.py shares: its arguments, published weights, and what it writes.

sys.path.insert(0, str(Path(__file__).parents[1]))
from paper import Paper

PAPER = Paper(__file__, __doc__)
arguments = PAPER.arguments(EXPERIMENTS, seeds=True)
PAPER.record(name, found, seed)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import tersenet
from tersenet.zoo import load_weights, network


class Paper:
    """The folder of one paper, that of `file`; `about` is the docstring of its run.py."""

    def __init__(self, file: str, about: str | None) -> None:
        self.folder = Path(file).parent
        self.recipes = self.folder / "recipes"
        self._about = (about or "").splitlines()[0]
        self._expected = self.folder / "expected.json"
        self.device = "cpu"

    def arguments(
        self, names: Iterable[str], *, seeds: bool = False, devices: bool = False, given: Sequence[str] | None = None
    ) -> argparse.Namespace:
        """`names`, all of them by default, `work`, which is made, `seeds` and `device`; threads are set."""
        parser = argparse.ArgumentParser(description=self._about)
        known = list(names)
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)} (default: all)")
        if seeds:
            parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 to N - 1 (default: 1)")
        if devices:
            parser.add_argument("--device", default="cpu", help="cpu, cuda, or auto (default: cpu)")
        parser.add_argument("--work", type=Path, default=Path("runs") / self.folder.name, help="what is gone on from")
        parser.add_argument("--threads", type=int, default=1)
        found = parser.parse_args(given)
        unknown = sorted(set(found.names) - set(known))
        if unknown:
            parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(known)}")
        found.names = found.names or known
        torch.set_num_threads(found.threads)
        self.device = found.device if devices else "cpu"
        found.work.mkdir(parents=True, exist_ok=True)
        return found

    def expected(self) -> dict[str, Any]:
        """All that is recorded so far."""
        return json.loads(self._expected.read_text()) if self._expected.exists() else {}

    def record(self, name: str, found: Mapping[str, Any], seed: int | None = None) -> None:
        """Put what is finished into expected.json, beside other names and seeds, with its command and its machine."""
        expected, threads = self.expected(), torch.get_num_threads()
        command = f"python papers/{self.folder.name}/run.py {name}"
        command += f" --seeds {seed + 1}" if seed else ""
        command += f" --threads {threads}" if threads > 1 else ""
        command += f" --device {self.device}" if self.device != "cpu" else ""
        machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {threads} threads"
        whole = {"machine": machine} | dict(found) | {"command": command, "python": platform.python_version()}
        if seed is None:
            expected[name] = whole
        else:
            expected.setdefault(name, {})[str(seed)] = whole
        self._expected.write_text(json.dumps(expected, indent=1) + "\n")
        print(name, "" if seed is None else seed, whole, flush=True)

    def write_table(self, lines: Sequence[str]) -> None:
        (self.folder / "table.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))

    def write_picture(self, name: str, svg: str) -> None:
        (self.folder / f"{name}.svg").write_text(svg)

    def save(self, result: tersenet.Result, name: str) -> None:
        """Keep the compressed network with the paper."""
        (self.folder / "files").mkdir(exist_ok=True)
        result.save(self.folder / "files" / f"{name}.terse")


def published(name: str, weights: str) -> torch.nn.Module:
    """The network `name` of the zoo with the weights in this file under the data folder."""
    folder = os.environ.get("TERSENET_DATA")
    if not folder:
        raise SystemExit("TERSENET_DATA is unset: it names the folder with the published weights")
    return load_weights(network(name), Path(folder) / weights)


def took(*results: tersenet.Result) -> dict[str, Any]:
    """How long the runs were, and where."""
    seconds = sum(stage["seconds"] for result in results for stage in result.record.stages)
    return {"minutes": round(seconds / 60, 1), "machine": results[-1].record.machine}


def file_of(result: tersenet.Result) -> dict[str, Any]:
    return {"file_bytes": result.file_bytes, "sha256": hashlib.sha256(result.data).hexdigest()}


def means(runs: Sequence[Mapping[str, Any]], *keys: str) -> dict[str, float]:
    """Over seeds."""
    return {key: sum(run[key] for run in runs) / len(runs) for key in keys}


def show(event: Mapping[str, Any]) -> None:
    """A line for each stage, and for the last step of each epoch."""
    if event["kind"] == "stage" or event.get("step") == event.get("steps"):
        keys = ("kind", "label", "epoch", "loss", "accuracy")
        print(time.strftime("%H:%M:%S"), {key: event[key] for key in keys if key in event}, flush=True)
