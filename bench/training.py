"""Training LeNet-5 on MNIST: `fit`, as `tersenet train` calls it, beside bare PyTorch loops on the same batches.

    python bench/training.py [--data-dir DIR] [--steps 150] [--rounds 9] [--threads 1] [--json]

bare    zero_grad, forward, loss, backward, step, and the loss read at the end; batches come from the same split
lean    the same from float tensors in memory, laid out as ours, with the fused optimiser: nothing left to leave out

Loops take turns in an order that changes, the first turn of each is thrown away. CPU seconds of the process are compared,
which other work on the machine moves little; wall seconds stand beside them. The ratio is bare's seconds by ours, the
median over rounds: 1 is as fast, more is faster. All loops must end in the same loss (to 1e-3).
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from tersenet import zoo
from tersenet.training import Batches, TrainConfig, fit
from tersenet.training.layout import channels_last

BATCH = 64
SETTINGS = {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4}


def config() -> TrainConfig:
    return TrainConfig(epochs=1, batch_size=BATCH, schedule="constant", **SETTINGS)


def ours(model: torch.nn.Module, split: object, folder: Path) -> float:
    seen: list[dict[str, object]] = []
    history = fit(model, split, None, config(), seed=0, checkpoint=folder / "x.ckpt", on_event=seen.append)
    for file in folder.iterdir():
        file.unlink()
    return history.epochs[0].train_loss


def bare(model: torch.nn.Module, batches: Callable[[], object], fused: bool) -> float:
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), **SETTINGS, fused=fused)
    losses = []
    for x, y in batches():
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    split = zoo.load("mnist", arguments.data_dir).train.take(range(arguments.steps * BATCH))
    order = _order(split)
    everything, labels = split.batch(slice(0, len(split)))

    def from_split() -> object:
        return (split.batch(rows) for rows in order)

    def from_memory() -> object:
        return ((channels_last(everything[rows]), labels[rows]) for rows in order)

    with tempfile.TemporaryDirectory() as folder:
        loops = {
            "ours": lambda model: ours(model, split, Path(folder)),
            "bare": lambda model: bare(model, from_split, False),
            "lean": lambda model: bare(model, from_memory, True),
        }
        cpu, wall = compared(loops, arguments.rounds)
    ratios = {name: median(b / a for a, b in zip(cpu["ours"], cpu[name])) for name in ("bare", "lean")}
    examples = len(split)
    result = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "threads": arguments.threads,
        "load_average": os.getloadavg(),
        "examples": examples,
        "cpu_examples_per_second": {name: round(examples / median(times)) for name, times in cpu.items()},
        "wall_examples_per_second": {name: round(examples / median(times)) for name, times in wall.items()},
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for key, value in result.items():
        print(f"{key:26}{value}")


def _order(split: object) -> list[torch.Tensor]:
    """The rows of each batch of fit's first epoch."""

    class Rows:
        def __len__(self) -> int:
            return len(split)  # type: ignore[arg-type]

        def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return indices, indices

    return [rows for _, rows, _ in Batches(Rows(), batch_size=BATCH, seed=0).epoch(0)]


def compared(
    loops: dict[str, Callable[[torch.nn.Module], float]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """CPU and wall seconds of each loop and round, every one from the same weights."""
    torch.manual_seed(0)
    start = zoo.network("lenet5").state_dict()
    cpu: dict[str, list[float]] = {name: [] for name in loops}
    wall: dict[str, list[float]] = {name: [] for name in loops}
    names = list(loops)
    for turn in range(rounds + 1):
        losses = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            model = zoo.network("lenet5")
            model.load_state_dict(start)
            began, cpu_began = time.perf_counter(), time.process_time()
            losses[name] = loops[name](model)
            if turn:
                cpu[name].append(time.process_time() - cpu_began)
                wall[name].append(time.perf_counter() - began)
        assert max(losses.values()) - min(losses.values()) < 1e-3, losses
    return cpu, wall


if __name__ == "__main__":
    main()
