"""ResNets with every 3x3 convolution as 1x1, 3x3, 1x1, and LeNets by SVD: `python run.py [NAME ...]`.

The published ResNets are factorised at the ranks that VBMF or a share of energy gives, fine-tuned, scored on the test set
and timed beside the original in PyTorch and in tersenet.runtime; `--time` times finished runs again. The published
LeNets are cut to lower and lower rank, plainly and as their inputs weigh it, without training. Runs are kept in --work and
go on from there. Writes expected.json, table.md, ranks.md and a figure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tersenet
from tersenet import artifact, runtime
from tersenet.calibration import sample_batches
from tersenet.graph import Network, capture
from tersenet.measure.inference import compare_networks
from tersenet.methods._factorable import factorable
from tersenet.methods.low_rank import factorise_layers, rank_by_numbers, spectra
from tersenet.methods.tucker2 import factorise_convolutions, formula_rate, ranks_by_energy, ranks_by_vbmf
from tersenet.recipes import load_recipe
from tersenet.report.figure import Line, figure
from tersenet.training.evaluate import evaluate
from tersenet.zoo import ENTRIES, network
from tersenet.zoo.data import load
from tersenet.zoo.weights import load_weights

HERE = Path(__file__).parent
EXPECTED = HERE / "expected.json"
# What is run: the network, its published weights, and how the ranks are chosen.
TUCKER = {
    "resnet56_vbmf": ("resnet56", "cifar10-resnet/resnet56-4bfd9763"),
    "resnet20_vbmf": ("resnet20", "cifar10-resnet/resnet20-12fca82f"),
    "resnet20_energy": ("resnet20", "cifar10-resnet/resnet20-12fca82f"),
}
SVD = {
    "lenet_300_100": ("lenet_300_100", "lenet-mnist/lenet300100_original"),
    "lenet5": ("lenet5", "lenet-mnist/lenet5_original"),
}
TITLES = {"resnet56": "ResNet-56", "resnet20": "ResNet-20", "lenet_300_100": "LeNet-300-100", "lenet5": "LeNet-5"}
BATCHES = (1, 64)
# Shares of each layer's numbers that its two factors may hold; layers in front of ten classes stay whole.
KEEPS = (0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02)
NARROW = {"lenet_300_100": "ip1,ip2", "lenet5": "conv2,ip1"}
IMAGES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (*SVD, *TUCKER)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/kim2016"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time", action="store_true", help="only time what is finished again")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    for name in arguments.names or names:
        if arguments.time:
            if name in TUCKER and name in expected():
                record(name, expected()[name] | {"latency": timed(published(*TUCKER[name]), smaller(name))})
        else:
            record(name, cut(*SVD[name]) if name in SVD else reproduce(name, *TUCKER[name], arguments.work))
    write_results()


def expected() -> dict[str, Any]:
    return json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}


def published(name: str, weights: str) -> Network:
    path = Path(os.environ["TERSENET_DATA"]) / "models" / f"{weights}.safetensors"
    return capture(load_weights(network(name), path).eval(), torch.zeros(2, *ENTRIES[name].input_shape))


# Tucker-2


def ranks_of(net: Network, recipe: Any) -> dict[str, tuple[int, int]]:
    """(P, Q) of each convolution that the recipe's first step factorises."""
    step = recipe.steps[0]
    layers, _ = factorable(net, step.where, "tucker2", spatial=True)
    weights = {layer.weight: net.dense(layer.weight) for layer in layers}
    if step.rank == "vbmf":
        return {name: ranks_by_vbmf(weight) for name, weight in weights.items()}
    return {name: ranks_by_energy(weight, step.energy) for name, weight in weights.items()}


def reproduce(name: str, net_name: str, weights: str, work: Path) -> dict[str, object]:
    data = load(ENTRIES[net_name].data, preprocess=ENTRIES[net_name].preprocess)
    original, recipe = published(net_name, weights), load_recipe(HERE / "recipes" / f"{name}.yaml")
    ranks = ranks_of(original, recipe)
    layers, _ = factorable(original, "*", "tucker2", spatial=True)
    cold, _ = factorise_convolutions(original, layers, ranks)
    # The published weights have seen our validation split, so nothing is decided on it and it is not scored.
    result = tersenet.compress(
        original, recipe=recipe, train=data.train, test=data.test, run_dir=work / name, source=net_name, on_event=show
    )
    files = HERE / "files"
    files.mkdir(exist_ok=True)
    result.save(files / f"{name}.terse")
    final, stages = result.record.final, result.record.stages
    factorised = artifact.load(result.run_dir / stages[0]["file"])
    return {
        "ranks": {one: list(pair) for one, pair in ranks.items()},
        "shapes": {one: list(original.dense(one).shape) for one in ranks},
        "energy_held": energy_held(stages[0]["notes"]),
        "macs_before": final["cost"]["before"]["macs_dense"],
        "macs_after": final["cost"]["after"]["macs_dense"],
        "parameters_before": result.record.parameters,
        "parameters_after": sum(parameter.numel() for parameter in dense(result.network).parameters()),
        "test_accuracy_before": percent(final["original"]["test"]["accuracy"]),
        "test_accuracy_factorised": percent(evaluate(cold, data.test).accuracy),
        "test_accuracy_factorised_batchnorm_anew": percent(evaluate(factorised, data.test).accuracy),
        "test_accuracy_after": percent(final["test"]["accuracy"]),
        "file_bytes": result.file_bytes,
        "latency": timed(original, dense(result.network)),
        "minutes": round(sum(stage["seconds"] for stage in stages) / 60, 1),
        "sha256": hashlib.sha256(result.data).hexdigest(),
    }


def energy_held(notes: list[str]) -> dict[str, float]:
    """% of each layer's energy that its product holds, as the step's notes say it."""
    found = [note.split(": ", 1) for note in notes if "% of its energy" in note]
    return {layer: float(text.split(" % of its energy")[0].rsplit(" ", 1)[1]) for layer, text in found}


def percent(accuracy: float) -> float:
    return round(100 * accuracy, 2)


def dense(net: Network) -> Network:
    """The network with ordinary float32 tensors."""
    return Network(net.graph, net.tensors()).eval()


def smaller(name: str) -> Network:
    return dense(artifact.load(HERE / "files" / f"{name}.terse"))


def timed(original: Network, factorised: Network) -> dict[str, dict[str, float]]:
    """Median milliseconds of all four in turns, on one thread: both networks in PyTorch and in our runtime, float32."""
    networks = {"original": dense(original), "factorised": factorised}
    found = {}
    for batch in BATCHES:
        inputs = torch.randn(batch, *original.graph.inputs[0].shape, generator=torch.Generator().manual_seed(0))
        sessions = {
            name: runtime.open_bytes(artifact.to_bytes(net, "raw"), threads=1, batch=batch, max_bytes=1 << 30)
            for name, net in networks.items()
        }
        array = inputs.numpy()
        for name, session in sessions.items():
            with torch.no_grad():
                np.testing.assert_allclose(session(array), networks[name](inputs).numpy(), rtol=1e-3, atol=1e-3)
        times = compare_networks(
            {name: (net, (inputs,)) for name, net in networks.items()},
            {f"runtime {name}": partial(session, array) for name, session in sessions.items()},
            limit_s=30,
        )
        found[str(batch)] = {f"{name.replace(' ', '_')}_ms": round(one.median_ms, 3) for name, one in times.items()} | {
            "ratio_torch": round(times["original"].median_ms / times["factorised"].median_ms, 3),
            "ratio_runtime": round(times["runtime original"].median_ms / times["runtime factorised"].median_ms, 3),
            "spread": round(max(one.spread for one in times.values()), 3),
        }
    return found


def show(event: dict[str, object]) -> None:
    if event["kind"] == "stage" or event.get("step") == event.get("steps"):
        kept = ("kind", "label", "epoch", "loss", "accuracy")
        print(time.strftime("%H:%M:%S"), {key: event[key] for key in kept if key in event}, flush=True)


# SVD


def cut(name: str, weights: str) -> dict[str, object]:
    """Test accuracy at each share of numbers kept, without training; the same ranks by both."""
    started = time.time()
    data = load(ENTRIES[name].data, preprocess=ENTRIES[name].preprocess)
    net = published(name, weights)
    layers, _ = factorable(net, NARROW[name], "low_rank")
    inputs = [x for x, _ in sample_batches(data.train, IMAGES, 250, seed=0)]
    weighed = {"plain": spectra(net, layers), "covariance": spectra(net, layers, inputs)}
    whole = sum(parameter.numel() for parameter in net.parameters())
    rows = []
    for keep in KEEPS:
        ranks = {one.layer.weight: rank_by_numbers(one, keep) for one in weighed["plain"]}
        row: dict[str, object] = {"keep": keep, "ranks": ranks}
        for how, found in weighed.items():
            factorised, _ = factorise_layers(net, found, ranks)
            row[how] = percent(evaluate(factorised, data.test).accuracy)
            row["parameters"] = sum(parameter.numel() for parameter in factorised.parameters())
        rows.append(row)
        print(name, row, flush=True)
    return {
        "rows": rows,
        "parameters": whole,
        "test_accuracy": percent(evaluate(net, data.test).accuracy),
        "seconds": round(time.time() - started, 1),
    }


# Results


def record(name: str, found: dict[str, object]) -> None:
    """Put a finished run into expected.json, beside the others."""
    known = expected()
    known[name] = found | {
        "command": f"python papers/{HERE.name}/run.py {name}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads",
    }
    EXPECTED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def write_results() -> None:
    known = expected()
    lines = [*tucker_table(known), "", *svd_table(known)]
    (HERE / "table.md").write_text("\n".join(lines) + "\n")
    (HERE / "ranks.md").write_text("\n".join(rank_tables(known)) + "\n")
    for name in SVD:
        if name in known:
            (HERE / f"{name}.svg").write_text(drawn(name, known[name]))
    print("\n".join(lines))


def tucker_table(known: dict[str, Any]) -> list[str]:
    lines = [
        "| network | ranks | multiply-adds, millions | parameters | file, bytes | test accuracy, %: original, factorised, "
        "BatchNorm anew, fine-tuned | PyTorch faster by, batch 1, 64 | runtime, batch 1, 64 | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (net, _) in TUCKER.items():
        if name not in known:
            continue
        run = known[name]
        accuracies = [
            run[f"test_accuracy_{when}"] for when in ("before", "factorised", "factorised_batchnorm_anew", "after")
        ]
        faster = {
            where: ", ".join(f"{run['latency'][str(batch)][f'ratio_{where}']:.2f}x" for batch in BATCHES)
            for where in ("torch", "runtime")
        }
        lines.append(
            f"| {TITLES[net]} | {'VBMF' if name.endswith('vbmf') else '80 % of the energy'} "
            f"| {run['macs_before'] / 1e6:.1f} -> {run['macs_after'] / 1e6:.1f} ({run['macs_before'] / run['macs_after']:.2f}x) "
            f"| {run['parameters_before']:,} -> {run['parameters_after']:,} | {run['file_bytes']:,} "
            f"| {', '.join(f'{one:.2f}' for one in accuracies)} | {faster['torch']} | {faster['runtime']} | {run['minutes']:.0f} |"
        )
    return lines


def svd_table(known: dict[str, Any]) -> list[str]:
    lines = [
        "| network | ranks | parameters | rate | plain SVD, % | covariance-weighted, % |",
        "|---|---|---|---|---|---|",
    ]
    for name in SVD:
        if name not in known:
            continue
        run = known[name]
        lines.append(f"| {TITLES[name]} | whole | {run['parameters']:,} | 1.0x | {run['test_accuracy']} | |")
        for row in run["rows"]:
            ranks = ", ".join(f"{weight.split('.')[0]} {rank}" for weight, rank in row["ranks"].items())
            rate = run["parameters"] / row["parameters"]
            lines.append(f"| | {ranks} | {row['parameters']:,} | {rate:.1f}x | {row['plain']} | {row['covariance']} |")
    return lines


def rank_tables(known: dict[str, Any]) -> list[str]:
    lines = []
    for name, (net, _) in TUCKER.items():
        if name not in known:
            continue
        run = known[name]
        lines += [
            f"## {name}: {TITLES[net]}",
            "",
            "| layer | S to T | P, Q | rate | energy held, % |",
            "|---|---|---|---|---|",
        ]
        for weight, (p, q) in run["ranks"].items():
            t, s = run["shapes"][weight][:2]
            layer = weight.removesuffix(".weight")
            held = run["energy_held"].get(layer)
            rate = f"{formula_rate(run['shapes'][weight], (p, q)):.2f}x" if held is not None else "left whole"
            lines.append(f"| {layer} | {s} to {t} | {p}, {q} | {rate} | {'' if held is None else held} |")
        lines.append("")
    return lines


def drawn(name: str, run: dict[str, Any]) -> str:
    lines = [
        Line(label, [(100.0 * row["parameters"] / run["parameters"], row[how]) for row in run["rows"]], how == "plain")
        for how, label in (("covariance", "covariance-weighted SVD"), ("plain", "plain SVD"))
    ]
    return figure(
        lines,
        title=f"{TITLES[name]}, no training",
        x="parameters left, %",
        y="accuracy on MNIST's test set, %",
        log_x=True,
        falling_x=True,
        reference=(run["test_accuracy"], "original"),
    )


if __name__ == "__main__":
    main()
