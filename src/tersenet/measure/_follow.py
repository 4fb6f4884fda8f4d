"""Watch a network run: each PyTorch operation that depends on the input, and its layer."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tersenet.graph.layer import FORM


class Follow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations as they run, below autograd, so that it does not matter who calls them.

    running   names of the modules that are running, the innermost last
    """

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.running: list[str] = []
        # By identity; the tensors are held, so that none is freed and another takes its place.
        self._live: dict[int, Tensor] = {id(tensor): tensor for tensor in inputs}
        self._stored: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in (*model.named_buffers(), *model.named_parameters()):
            self.know(name, tensor)

    def seen(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Called after each operation with a live argument; `packet` is torch.ops.aten.<name>."""
        raise NotImplementedError

    def live(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the input."""
        return id(tensor) in self._live

    def know(self, name: str, tensor: Tensor) -> None:
        """That this memory is the stored tensor `name`."""
        self._stored[memory(tensor)] = (name, tensor)

    def whole(self, weight: Tensor) -> Tensor | None:
        """The stored tensor that `weight` is, or is a part of."""
        found = self._stored.get(memory(weight))
        return None if found is None else found[1]

    def layer(self, weight: Tensor | None = None) -> str:
        """The layer at work: that of the stored weight, else the module that runs."""
        running = self.running[-1] if self.running else ""
        known = None if weight is None else self._stored.get(memory(weight))
        if known is None:
            return running
        stored, _ = known
        owner, _, last = stored.rpartition(".")
        if running and stored.startswith(f"{running}.") and (last == "weight" or running != owner):
            return running  # what lies between the layer and its parameter is how the weight is stored
        return owner if last == "weight" and owner else stored

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(self.live(tensor) for tensor in tensors((args, kwargs))):
            for tensor in tensors(result):
                self._live[id(tensor)] = tensor
            self.seen(func.overloadpacket, args, kwargs, result)
        return result


@contextmanager
def _watched(model: nn.Module, follow: Follow) -> Iterator[None]:
    """Tell which modules run, and what their forms compute."""

    def enter(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, inputs: follow.running.append(name)

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, outputs: Any) -> None:
            follow.running.pop()
            if name.endswith(FORM) and isinstance(outputs, Tensor):
                follow.know(name.removesuffix(FORM), outputs)

        return hook

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name)))
        handles.append(module.register_forward_hook(leave(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; each module is left in the mode it was in."""
    modes = {module: module.training for model in models for module in model.modules()}
    try:
        for model in models:
            model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _in_parts(model: nn.Module) -> Iterator[None]:
    """Attention and recurrent layers as the products they consist of, which one fused call would hide."""
    fused = torch.backends.mha.get_fastpath_enabled()
    onednn = torch.backends.mkldnn.enabled
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.backends.mkldnn.flags(enabled=onednn and not recurrent):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)


def run(model: nn.Module, inputs: tuple[Tensor, ...], follow: Follow) -> Any:
    """What `model` answers when run once for inference under `follow`; it is left in the mode it was in."""
    with evaluating(model), _watched(model, follow), _in_parts(model), follow:
        return model(*inputs)


def zeros(model: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """One input of this shape, where the model is."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return (torch.zeros(shape, device=device),)


def memory(tensor: Tensor) -> int:
    """Where a tensor lies: the same for all views of it."""
    return tensor.untyped_storage().data_ptr()


def tensors(values: Any) -> Iterator[Tensor]:
    """The tensors in nested arguments."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors(value)
    elif isinstance(values, dict):
        yield from tensors(list(values.values()))
