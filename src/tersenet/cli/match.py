"""Whether a network and data go together, found out on the first examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tersenet.errors import TersenetError

if TYPE_CHECKING:
    from torch import nn

    from tersenet.cli.data import Loaders


def check_match(model: nn.Module, loaders: Loaders, loss: str | None = None) -> None:
    """Refuse inputs that the network cannot take, and classes that it does not have; for bce, one output has two."""
    import torch

    from tersenet.training.losses import are_labels

    x, y = loaders.first_batch()
    outputs = answer(model, (x,), loaders.text)
    if not isinstance(outputs, torch.Tensor) or not isinstance(y, torch.Tensor) or not are_labels(outputs, y, loss):
        return
    # A data set of the zoo says how many classes it has; of a loader the first batch is seen.
    known = getattr(next(iter(loaders.parts.values())), "classes", 0)
    needed = max(known, int(y.max()) + 1 if y.numel() else 0)
    if needed > outputs.shape[1] and y.shape[1:] == outputs.shape[2:]:
        raise TersenetError(
            f"the network tells {outputs.shape[1]} classes apart, {loaders.text} has {needed} or more; "
            "take a network with as many outputs"
        )


def answer(model: nn.Module, inputs: tuple[Any, ...], origin: str) -> Any:
    """What the network makes of inputs. Where it cannot take them, they are refused with where they come from."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model(*inputs)
    except Exception as error:  # the network may be the user's own code, which can raise anything
        shapes = [str(tuple(x.shape)) for x in inputs if isinstance(x, torch.Tensor)]
        came = f"inputs of shape {', '.join(shapes)}" if shapes else f"a {type(inputs[0]).__name__}"
        raise TersenetError(
            f"the network does not take the inputs of {origin}: {came} came, and it raised "
            f"{type(error).__name__}: {error}; --debug shows where"
        ) from error
    finally:
        model.train(training)
