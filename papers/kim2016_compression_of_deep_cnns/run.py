"""ResNets with every 3x3 convolution as 1x1, 3x3, 1x1, and LeNets by SVD: `python run.py [NAME ...]`.

resnet20, resnet56      the published network at the ranks of VBMF and of shares of energy, without training: scored on the
                        test set, timed beside the original in PyTorch and in tersenet.runtime
resnet20_vbmf and so on the same fine-tuned by a recipe; kept in --work, gone on with from there
lenet_300_100, lenet5   by SVD to lower and lower rank, plainly and as the inputs weigh it, without training

Writes expected.json, table.md, ranks.md and figures.
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
from tersenet.calibration import recalibrate_batchnorm, sample_batches
from tersenet.graph import Network, capture
from tersenet.measure.inference import compare_networks
from tersenet.methods._factorable import factorable
from tersenet.methods.channels import multiply_adds
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
# Without training: VBMF, and shares of the energy of both unfoldings.
COLD = {"resnet20": ("vbmf", 0.95, 0.9, 0.8, 0.7), "resnet56": ("vbmf", 0.8)}
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
LATENCY_S = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (*SVD, *COLD, *TUCKER)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("runs/kim2016"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time", action="store_true", help="only time resnet20 and resnet56 again")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    for name in arguments.names or names:
        if name in SVD:
            record(name, cut(*SVD[name]))
        elif name in COLD and arguments.time:
            record(name, timed_again(name))
        elif name in COLD:
            record(name, untrained(name))
        else:
            record(name, reproduce(name, *TUCKER[name], arguments.work))
    write_results()


def expected() -> dict[str, Any]:
    return json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}


def published(name: str, weights: str) -> Network:
    path = Path(os.environ["TERSENET_DATA"]) / "models" / f"{weights}.safetensors"
    return capture(load_weights(network(name), path).eval(), torch.zeros(2, *ENTRIES[name].input_shape))


# Tucker-2


def ranks_of(net: Network, amount: str | float) -> dict[str, tuple[int, int]]:
    """(P, Q) of each 3x3 convolution by VBMF or by a share of energy."""
    layers, _ = factorable(net, "*", "tucker2", spatial=True)
    weights = {layer.weight: net.dense(layer.weight) for layer in layers}
    if isinstance(amount, str):
        return {name: ranks_by_vbmf(weight) for name, weight in weights.items()}
    return {name: ranks_by_energy(weight, amount) for name, weight in weights.items()}


def about(net: Network, amount: str | float) -> tuple[Network, dict[str, object]]:
    """The factorised network and what is said of it before it is scored or trained."""
    layers, _ = factorable(net, "*", "tucker2", spatial=True)
    ranks = ranks_of(net, amount)
    factorised, notes = factorise_convolutions(net, layers, ranks)
    return factorised, {
        "ranks": {one: list(pair) for one, pair in ranks.items()},
        "shapes": {one: list(net.dense(one).shape) for one in ranks},
        "energy_held": energy_held(notes),
        "macs_before": multiply_adds(net),
        "macs_after": multiply_adds(factorised),
        "parameters_before": sum(parameter.numel() for parameter in net.parameters()),
        "parameters_after": sum(parameter.numel() for parameter in factorised.parameters()),
    }


def untrained(name: str) -> dict[str, object]:
    """Accuracy and speed at each choice of ranks, BatchNorm as it is and anew."""
    data = load(ENTRIES[name].data, preprocess=ENTRIES[name].preprocess)
    net = published(name, dict(TUCKER.values())[name])
    inputs = [x for x, _ in sample_batches(data.train, IMAGES, 125, seed=0)]
    rows = {}
    for amount in COLD[name]:
        factorised, row = about(net, amount)
        row["latency"] = timed(net, factorised)
        row["test_accuracy_factorised"] = percent(evaluate(factorised, data.test).accuracy)
        recalibrate_batchnorm(factorised, inputs)
        row["test_accuracy_factorised_batchnorm_anew"] = percent(evaluate(factorised, data.test).accuracy)
        rows[str(amount)] = row
        print(
            time.strftime("%H:%M:%S"),
            name,
            amount,
            {one: row[one] for one in row if one.startswith("test")},
            flush=True,
        )
    return {"rows": rows, "test_accuracy_before": percent(evaluate(net, data.test).accuracy)}


def reproduce(name: str, net_name: str, weights: str, work: Path) -> dict[str, object]:
    data = load(ENTRIES[net_name].data, preprocess=ENTRIES[net_name].preprocess)
    original, recipe = published(net_name, weights), load_recipe(HERE / "recipes" / f"{name}.yaml")
    cold, told = about(original, recipe.steps[0].rank or recipe.steps[0].energy)
    # The published weights have seen our validation split, so nothing is decided on it and it is not scored.
    result = tersenet.compress(
        original, recipe=recipe, train=data.train, test=data.test, run_dir=work / name, source=net_name, on_event=show
    )
    files = HERE / "files"
    files.mkdir(exist_ok=True)
    result.save(files / f"{name}.terse")
    final, stages = result.record.final, result.record.stages
    factorised = artifact.load(result.run_dir / stages[0]["file"])
    return told | {
        "test_accuracy_before": percent(final["original"]["test"]["accuracy"]),
        "test_accuracy_factorised": percent(evaluate(cold, data.test).accuracy),
        "test_accuracy_factorised_batchnorm_anew": percent(evaluate(factorised, data.test).accuracy),
        "test_accuracy_after": percent(final["test"]["accuracy"]),
        "file_bytes": result.file_bytes,
        "latency": timed(original, dense(result.network)),
        "minutes": round(sum(stage["seconds"] for stage in stages) / 60, 1),
        "sha256": hashlib.sha256(result.data).hexdigest(),
    }


def timed_again(name: str) -> dict[str, Any]:
    """What is known of a network, with new times."""
    net, known = published(name, dict(TUCKER.values())[name]), expected()[name]
    for amount in COLD[name]:
        known["rows"][str(amount)]["latency"] = timed(net, about(net, amount)[0])
    return known


def energy_held(notes: list[str]) -> dict[str, float]:
    """% of each layer's energy that its product holds, as the step's notes say it."""
    found = [note.split(": ", 1) for note in notes if "% of its energy" in note]
    return {layer: float(text.split(" % of its energy")[0].rsplit(" ", 1)[1]) for layer, text in found}


def percent(accuracy: float) -> float:
    return round(100 * accuracy, 2)


def dense(net: Network) -> Network:
    """The network with ordinary float32 tensors."""
    return Network(net.graph, net.tensors()).eval()


def timed(original: Network, factorised: Network) -> dict[str, dict[str, float]]:
    """Least milliseconds of all four in turns, on one thread: both networks in PyTorch and in our runtime, float32.

    The least, not the median: other processes make a call longer, never shorter. `spread` is that of the median.
    """
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
            limit_s=LATENCY_S,
        )
        found[str(batch)] = {f"{name.replace(' ', '_')}_ms": round(one.min_ms, 3) for name, one in times.items()} | {
            "ratio_torch": round(times["original"].min_ms / times["factorised"].min_ms, 3),
            "ratio_runtime": round(times["runtime original"].min_ms / times["runtime factorised"].min_ms, 3),
            "spread": round(max(one.spread for one in times.values()), 3),
            "repeats": times["original"].repeats,
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
        "| network | ranks | multiply-adds, millions | parameters | test accuracy, %: original, factorised, BatchNorm anew, "
        "fine-tuned | PyTorch faster by, batch 1, 64 | runtime, batch 1, 64 | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in COLD:
        found = known.get(name, {"rows": {}})
        for amount, row in found["rows"].items():
            lines.append(tucker_row(name, amount, row | {"test_accuracy_before": found["test_accuracy_before"]}))
    for name, (net, _) in TUCKER.items():
        if name in known:
            lines.append(tucker_row(net, "vbmf" if name.endswith("vbmf") else "0.8", known[name]))
    return lines


def tucker_row(net: str, amount: str, run: dict[str, Any]) -> str:
    when = ("before", "factorised", "factorised_batchnorm_anew", "after")
    accuracies = [f"{run[f'test_accuracy_{one}']:.2f}" if f"test_accuracy_{one}" in run else "-" for one in when]
    faster = {
        where: ", ".join(f"{run['latency'][str(batch)][f'ratio_{where}']:.2f}x" for batch in BATCHES)
        for where in ("torch", "runtime")
    }
    minutes = f"{run['minutes']:.0f}" if "minutes" in run else "-"
    return (
        f"| {TITLES[net]} | {'VBMF' if amount == 'vbmf' else f'{float(amount):.0%} of the energy'} "
        f"| {run['macs_before'] / 1e6:.1f} -> {run['macs_after'] / 1e6:.1f} ({run['macs_before'] / run['macs_after']:.2f}x) "
        f"| {run['parameters_before']:,} -> {run['parameters_after']:,} | {', '.join(accuracies)} "
        f"| {faster['torch']} | {faster['runtime']} | {minutes} |"
    )


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
    """(P, Q) of each layer by VBMF, with what its product holds, and by 80 % of the energy."""
    lines = []
    for name in COLD:
        if name not in known:
            continue
        vbmf, energy = (known[name]["rows"][amount] for amount in ("vbmf", "0.8"))
        lines += [
            f"## {TITLES[name]}",
            "",
            "| layer | S to T | P, Q by VBMF | rate | energy held, % | P, Q by 80 % of the energy | rate |",
            "|---|---|---|---|---|---|---|",
        ]
        for weight in vbmf["ranks"]:
            (t, s, *_), layer = vbmf["shapes"][weight], weight.removesuffix(".weight")
            cells = [layer, f"{s} to {t}"]
            for row in (vbmf, energy):
                held, ranks = row["energy_held"].get(layer), row["ranks"][weight]
                rate = "whole" if held is None else f"{formula_rate(vbmf['shapes'][weight], ranks):.2f}x"
                cells += [f"{ranks[0]}, {ranks[1]}", rate, *([f"{held or '-'}"] if row is vbmf else [])]
            lines.append(f"| {' | '.join(cells)} |")
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
