"""ResNet-20 in signs and zeros: `python run.py [NAME ...] [--work DIR]`.

The published network is trained on with ternary weights, with ResNet-56 as teacher, and scored on the test set at the end.
Runs are kept in --work and go on from there after an interruption; finished ones are written to expected.json, from
which table.md is made.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fine_tuned import Experiment, run
from paper import Paper

EXPERIMENTS = {
    "ternary": Experiment(
        "ResNet-20, CIFAR-10, ternary; first and last layer 8 bits",
        "resnet20",
        "models/cifar10-resnet/resnet20-12fca82f.safetensors",
        "VGG-7: 92.88 to 92.56 %",
        90.5,
        120,
        ("resnet56", "models/cifar10-resnet/resnet56-4bfd9763.safetensors"),
    ),
}

if __name__ == "__main__":
    run(Paper(__file__, __doc__), EXPERIMENTS)
