"""Tables 4 and 5 of Han et al. 2015 from networks that are built and counted: `python run.py`.

AlexNet and VGG-16 of the zoo with random weights keep, layer by layer, the share of largest weights that the paper
kept; the paper's activation densities are given, and everything else is counted while the networks run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tersenet.measure.operations import Operations, count_operations
from tersenet.zoo import example_inputs, network

# Activation %, weights % and FLOP % of each layer, as printed (arXiv:1506.02626, tables 4 and 5).
ALEXNET = """
conv1 88 84 84; conv2 52 38 33; conv3 37 35 18; conv4 40 37 14; conv5 34 37 14; fc1 36 9 3; fc2 40 9 3; fc3 100 25 10"""
VGG16 = """
conv1_1 53 58 58; conv1_2 89 22 12; conv2_1 80 34 30; conv2_2 81 36 29; conv3_1 68 53 43; conv3_2 70 24 16;
conv3_3 64 42 29; conv4_1 51 32 21; conv4_2 45 27 14; conv4_3 34 34 15; conv5_1 32 35 12; conv5_2 29 29 9;
conv5_3 19 36 11; fc6 38 4 1; fc7 42 4 2; fc8 100 23 9"""
PAPER = {"alexnet": ALEXNET, "vgg16": VGG16}
# Weights % and FLOP % of the whole network.
TOTAL = {"alexnet": (11.0, 30.0), "vgg16": (7.5, 21.0)}


@dataclass(frozen=True)
class Row:
    """A layer, or the total: counted numbers in percent, and the paper's."""

    name: str
    weights: int
    flops: int
    weights_percent: float
    flops_percent: float
    paper_weights_percent: float
    paper_flops_percent: float


def printed(name: str) -> dict[str, tuple[float, float, float]]:
    """Activation %, weights % and FLOP % by layer."""
    rows = (row.split() for row in PAPER[name].split(";"))
    return {layer: (float(act), float(kept), float(flop)) for layer, act, kept, flop in rows}


def largest(weight: Tensor, share: float) -> Tensor:
    """`weight` with all but this share of it, the largest, at zero."""
    gone = weight.numel() - round(share * weight.numel())
    threshold = weight.abs().flatten().kthvalue(gone).values
    return torch.where(weight.abs() > threshold, weight, 0)


def count(name: str, seed: int = 0) -> Operations:
    """The network at the paper's densities, counted."""
    torch.manual_seed(seed)
    model = network(name)
    paper = printed(name)
    with torch.no_grad():
        for layer, (_, kept, _) in paper.items():
            weight = model.get_parameter(f"{layer}.weight")
            weight.copy_(largest(weight, kept / 100))
    density = {layer: act / 100 for layer, (act, _, _) in paper.items()}
    return count_operations(model, inputs=example_inputs(name, 1), activation_density=density)


def rows(counted: Operations, name: str) -> list[Row]:
    """Ours beside the paper's."""
    paper = printed(name)
    found = []
    for part in (*counted, counted):
        kept, flops = 100 * part.nonzeros / part.weights, 100 * part.flops_effective / part.flops_dense
        layer, said = ("total", TOTAL[name]) if isinstance(part, Operations) else (part.name, paper[part.name][1:])
        found.append(Row(layer, part.weights, part.flops_dense, kept, flops, *said))
    return found


def table_of(found: list[Row], name: str) -> str:
    """As Markdown."""
    lines = [
        f"| {name} | weights | FLOP | weights %, paper | ours | FLOP %, paper | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        lines.append(
            f"| {row.name} | {row.weights:,} | {row.flops:,} | {row.paper_weights_percent:g} | {row.weights_percent:.1f} "
            f"| {row.paper_flops_percent:g} | {row.flops_percent:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print("\n\n".join(table_of(rows(count(name), name), name) for name in PAPER))
