"""Reference networks and data loaders. The tables are read without importing torch.

model = load_weights(network("lenet5"), "lenet5.safetensors")
data = load("mnist", preprocess=entry("lenet5").preprocess)
x, y = data.test.batch(range(64))
"""

from typing import TYPE_CHECKING, Any

from tersenet.zoo.networks import (
    ENTRIES as ENTRIES,
)
from tersenet.zoo.networks import (
    NETWORKS as NETWORKS,
)
from tersenet.zoo.networks import (
    NetworkEntry as NetworkEntry,
)
from tersenet.zoo.networks import (
    UnknownNetwork as UnknownNetwork,
)
from tersenet.zoo.networks import (
    entry as entry,
)
from tersenet.zoo.networks import (
    example_inputs as example_inputs,
)
from tersenet.zoo.networks import (
    network as network,
)
from tersenet.zoo.preprocess import Preprocess as Preprocess

if TYPE_CHECKING:
    from tersenet.zoo.data import DATASETS as DATASETS
    from tersenet.zoo.data import Data as Data
    from tersenet.zoo.data import Split as Split
    from tersenet.zoo.data import load as load
    from tersenet.zoo.weights import load_weights as load_weights

# Public names that live in modules which import numpy or torch, fetched when first asked for (PEP 562).
_LAZY = {
    "DATASETS": "tersenet.zoo.data",
    "Data": "tersenet.zoo.data",
    "Split": "tersenet.zoo.data",
    "load": "tersenet.zoo.data",
    "load_weights": "tersenet.zoo.weights",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
