"""One process and plain PyTorch, or many through accelerate: the few operations in which they differ.

Every process walks through the same batches and takes its slice of each, weighted by its share, so that the
gradient is the one that a single process computes from the whole batch.
"""

import os
import platform
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tersenet.training.errors import TrainingError


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """`tensor` on the device; on its way to a GPU it is pinned, so that nobody waits for what the GPU was asked before."""
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class OneProcess:
    """Plain PyTorch on one device."""

    processes = 1
    is_main = True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in place of `model`."""
        return model

    def slice(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
        """This process's part of a batch, and the factor of its mean loss."""
        return sent(x, self.device), sent(y, self.device), 1.0

    def backward(self, loss: Tensor, optimiser: Optimizer) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def total(self, numbers: list[float]) -> list[float]:
        """Sums over all processes."""
        return numbers

    def any(self, flag: bool) -> bool:
        """Whether it is true in some process."""
        return flag

    def wait(self) -> None:
        """Until every process has come here."""


class ManyProcesses(OneProcess):
    """Started by `accelerate launch`: one device a process, gradients averaged over all of them."""

    def __init__(self) -> None:
        from accelerate import Accelerator

        self.accelerator: Any = Accelerator()
        super().__init__(self.accelerator.device)
        self.processes = self.accelerator.num_processes
        self.is_main = self.accelerator.is_main_process
        self.rank = self.accelerator.process_index

    def wrap(self, model: nn.Module) -> nn.Module:
        wrapped: nn.Module = self.accelerator.prepare_model(model)
        return wrapped

    def slice(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
        if len(x) < self.processes:
            raise TrainingError(
                f"a batch of {len(x)} examples does not reach {self.processes} processes; "
                "choose a batch size that leaves none so small, or fewer processes"
            )
        part, target = x[self.rank :: self.processes], y[self.rank :: self.processes]
        # Gradients are averaged over processes; a mean over the batch weights each by its number of examples.
        return sent(part, self.device), sent(target, self.device), len(part) * self.processes / len(x)

    def backward(self, loss: Tensor, optimiser: Optimizer) -> None:
        self.accelerator.backward(loss)

    def total(self, numbers: list[float]) -> list[float]:
        together = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        summed: list[float] = self.accelerator.reduce(together, "sum").tolist()
        return summed

    def any(self, flag: bool) -> bool:
        return self.total([float(flag)])[0] > 0

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def resolve_device(device: str | torch.device) -> torch.device:
    """A device that is there; "auto" is a GPU, or the CPU where there is none."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as builds without it differ in saying so
        reason = str(error).split("\n")[0].rstrip(".")
        raise TrainingError(f"device '{device}' cannot be used here ({reason}); take cpu, cuda, or auto") from error
    return found


def machine_name(device: str | torch.device = "cpu") -> str:
    """What trains here, for records."""
    where = torch.device(device)
    name = f"{platform.machine()}, {os.cpu_count()} cores"
    name += f", {torch.cuda.get_device_name(where)}" if where.type == "cuda" else ""
    return f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads"


def make_devices(device: str | torch.device) -> OneProcess:
    """accelerate where several processes were launched, else plain PyTorch."""
    launched = int(os.environ.get("WORLD_SIZE", "1") or 1)
    if launched > 1:
        if find_spec("accelerate") is None:
            raise TrainingError(
                f"{launched} processes were launched, but accelerate is not installed; "
                "install the extra tersenet[accelerate], or start one process"
            )
        return ManyProcesses()
    return OneProcess(resolve_device(device))
