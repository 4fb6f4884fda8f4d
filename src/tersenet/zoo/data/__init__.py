"""Data sets by name: found on disk, or fetched where that is allowed, and held in memory.

data = load("mnist")
x, y = data.train.batch([0, 1, 2])
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tersenet.zoo._names import nearest
from tersenet.zoo.data.errors import (
    DataError as DataError,
)
from tersenet.zoo.data.errors import (
    DataMissing as DataMissing,
)
from tersenet.zoo.data.errors import (
    UnknownData as UnknownData,
)
from tersenet.zoo.data.request import PARTS, Request
from tersenet.zoo.data.split import Data as Data
from tersenet.zoo.data.split import Split as Split
from tersenet.zoo.preprocess import Preprocess


@dataclass(frozen=True)
class DataEntry:
    """One line of the table: "module:function", one line of text, and whether --download can get it."""

    loader: str
    description: str
    fetchable: bool = False


DATASETS: Mapping[str, DataEntry] = MappingProxyType(
    {
        "digits": DataEntry("digits:digits", "1,797 digits of 8x8, inside scikit-learn"),
        "digits28": DataEntry("digits:digits28", "the same grown to 28x28, for MNIST's networks"),
        "mnist": DataEntry("idx:mnist", "70,000 digits of 28x28, IDX files", True),
        "fashion_mnist": DataEntry("idx:fashion_mnist", "70,000 clothes of 28x28, IDX files", True),
        "cifar10": DataEntry("cifar10:cifar10", "60,000 photographs of 32x32; binary, python or .npz form", True),
        "imagenet_sample": DataEntry("imagenet_sample:imagenet_sample", "1,000 ImageNet photographs, test only"),
        "tinyshakespeare": DataEntry("text:tinyshakespeare", "1.1 MB of Shakespeare by characters"),
        "stories": DataEntry("text:stories", "TinyStories as the small Llama's tokens"),
    }
)
FOLDER = "folder:"


def load(
    name: str,
    data_dir: str | Path | None = None,
    download: bool = False,
    preprocess: Preprocess | None = None,
    parts: tuple[str, ...] = PARTS,
) -> Data:
    """The data set `name`, or the images in `folder:PATH`.

    Looked for in `data_dir`, then in the folder TERSENET_DATA names, then in ~/.cache/tersenet, in the
    set's own subfolder or right there. `preprocess` is the network's; without it the set's usual one.
    `parts` names those needed, so that a test does not read the training set.
    """
    if name.startswith(FOLDER):
        from tersenet.zoo.data.folder import image_folder

        return image_folder(name.removeprefix(FOLDER), preprocess)
    if name not in DATASETS:
        raise UnknownData(f"data {name!r} is unknown, image folders are folder:PATH; {nearest(name, DATASETS)}")
    module, _, function = DATASETS[name].loader.partition(":")
    loader = getattr(importlib.import_module(f"tersenet.zoo.data.{module}"), function)
    data: Data = loader(Request(data_dir, download, preprocess, parts))
    return data
