"""What a running network needs in memory beside its weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tersenet.measure._follow import Follow, memory, run, tensors


@dataclass(frozen=True, kw_only=True)
class ActivationMemory:
    """peak_bytes   the most that values which are still needed take at one time
    peak_layer   the layer at work then; "after conv1" where an operation belongs to none
    """

    peak_bytes: int
    peak_layer: str


def activation_memory(model: nn.Module, inputs: tuple[Tensor, ...]) -> ActivationMemory:
    """For the answer to `inputs`, of a runtime that follows the model's order of operations.

    A value takes memory from the operation that computes it to the last that reads it: what a skip connection keeps
    counts, results that nothing reads (the places of a maximum) do not. Views and what is computed in place take
    none of their own.
    """
    # A slice of a larger tensor would bring all of it along.
    inputs = tuple(one.clone() for one in inputs)
    follow = _Lifetimes(model, inputs)
    follow.end(run(model, inputs, follow))
    return follow.peak()


class _Lifetimes(Follow):  # type: ignore[no-untyped-call]
    """When each value is first and last needed, in operations."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(model, inputs)
        self._names: list[str] = []
        self._bytes: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._touch(inputs, -1)

    def seen(self, packet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        self._touch((one for one in tensors((args, kwargs, result)) if self.live(one)), len(self._names))
        stored = [one for one in tensors(args) if not self.live(one)]
        # Of weight and bias, the weight.
        self._names.append(self.layer(max(stored, key=lambda one: one.ndim, default=None)))

    def end(self, outputs: Any) -> None:
        """Outputs are needed when all is done."""
        self._touch((one for one in tensors(outputs) if self.live(one)), len(self._names))

    def peak(self) -> ActivationMemory:
        change = [0] * (len(self._names) + 3)
        for place, size_bytes in self._bytes.items():
            if self._first[place] < self._last[place]:
                change[self._first[place] + 1] += size_bytes
                change[self._last[place] + 2] -= size_bytes
        most, at, held = 0, -1, 0
        for step, difference in enumerate(change):
            held += difference
            if held > most:
                most, at = held, step - 1
        return ActivationMemory(peak_bytes=most, peak_layer=self._name(at))

    def _touch(self, values: Iterable[Tensor], step: int) -> None:
        for value in values:
            place = memory(value)
            self._bytes[place] = value.untyped_storage().nbytes()
            self._first.setdefault(place, step)
            self._last[place] = step

    def _name(self, step: int) -> str:
        """Of the layer at this step, or of the last one before it that has a name."""
        if 0 <= step < len(self._names) and self._names[step]:
            return self._names[step]
        before = next((name for name in reversed(self._names[: max(step, 0)]) if name), "")
        return f"after {before}" if before else "input"
