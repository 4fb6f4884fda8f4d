"""The one training loop: batches, losses, schedules, and checkpoints that resume exactly.

history = fit(model, train, validate, TrainConfig(epochs=10, lr=0.05), seed=0, checkpoint=Path("run/a.ckpt"))
score = evaluate(model, test)  # from tersenet.training.evaluate
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tersenet.training.batches import Batches as Batches
    from tersenet.training.batches import Data as Data
    from tersenet.training.batches import IndexedData as IndexedData
    from tersenet.training.config import Regularise as Regularise
    from tersenet.training.config import TrainConfig as TrainConfig
    from tersenet.training.evaluate import Score as Score
    from tersenet.training.history import EpochRecord as EpochRecord
    from tersenet.training.history import History as History
    from tersenet.training.loop import AfterStep as AfterStep
    from tersenet.training.loop import Criterion as Criterion
    from tersenet.training.loop import fit as fit
    from tersenet.training.losses import batch_loss as batch_loss

# Fetched when first asked for (PEP 562): a recipe needs TrainConfig, which does not import torch.
_LAZY = {
    "AfterStep": "loop",
    "Batches": "batches",
    "Criterion": "loop",
    "Data": "batches",
    "IndexedData": "batches",
    "EpochRecord": "history",
    "History": "history",
    "Regularise": "config",
    "Score": "evaluate",
    "TrainConfig": "config",
    "batch_loss": "losses",
    "fit": "loop",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"tersenet.training.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
