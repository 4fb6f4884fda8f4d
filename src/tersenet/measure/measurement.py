"""What one answer of a network costs, and how two networks compare: one frozen record, units in names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from tersenet import runtime
from tersenet.errors import TersenetError
from tersenet.graph import Network
from tersenet.measure.activations import ActivationMemory, activation_memory
from tersenet.measure.energy import Energy, energy
from tersenet.measure.inference import compare_networks
from tersenet.measure.latency import Latency
from tersenet.measure.memory import Caches, caches
from tersenet.measure.operations import (
    OTHERS,
    LayerOperations,
    Operations,
    count_operations,
    measure_input_density,
)

RATE_HZ = 20.0
"""Of the literature's example: a billion connections from DRAM, 20 times a second, are 12.8 W."""
MS_PER_S = 1000.0
TORCH, OURS = "torch", "tersenet"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is to be measured.

    model               an nn.Module on the CPU, or a Network, whose forms are made dense
    inputs              one batch of its inputs, batch axis first: what is counted and timed
    file                the bytes of its .terse file, which our runtime then runs too
    batches             real inputs: the share of each layer's inputs that are not zero is measured on them
    activation_density  instead of that: share of each layer's outputs that are not zero; the next layer meets it
    max_bytes           the most that the weights of `file` may decode to
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    file: bytes | None = None
    batches: Iterable[tuple[Tensor, ...]] | None = None
    activation_density: Mapping[str, float] | None = None
    max_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Of one answer; multiply-adds are those of one example.

    operations      by layer, with the bytes that each keeps in memory while running
    activations     at this batch
    dense_bytes     all tensors as torch holds them
    file_bytes      the length of the .terse file; None where there is none
    runs_in         "tersenet" where our runtime runs the file, whose bytes then count, else "torch"
    refused         why our runtime does not run the file; None where it does, or there is no file
    caches          of this machine, or those given
    latency         wall time of a batch by who runs it, on one thread
    """

    operations: Operations
    activations: ActivationMemory
    dense_bytes: int
    caches: Caches
    latency: Mapping[str, Latency]
    batch: int = 1
    rate_hz: float = RATE_HZ
    file_bytes: int | None = None
    runs_in: str = TORCH
    refused: str | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise TersenetError(f"a rate of {self.rate_hz:g} inferences a second; expected more than 0")

    @property
    def weight_bytes(self) -> int:
        """What weights take in memory while running."""
        return self.operations.weight_bytes

    @property
    def fits(self) -> str | None:
        """The smallest cache that holds the weights: "L1", "L2", "L3"; None if none is known to."""
        return self.caches.holds(self.weight_bytes)

    @property
    def energy(self) -> Energy:
        """By the table: multiply-adds that meet no zero, and each byte of the weights read once."""
        return self._energy(self.operations)

    @property
    def power_w(self) -> float:
        """At `rate_hz` inferences a second."""
        return self.energy.watts(self.rate_hz)

    def frames_per_s(self, who: str) -> float:
        """Examples that `who` answers in a second on one thread."""
        return MS_PER_S * self.batch / self.latency[who].median_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under keys that stay."""
        counted, spent = self.operations, self.energy
        return {
            "batch": self.batch,
            "rate_hz": self.rate_hz,
            "parameters": counted.parameters,
            "weights": counted.weights,
            "nonzeros": counted.nonzeros,
            "macs_dense": counted.macs_dense,
            "macs_effective": counted.macs_effective,
            "flops_dense": counted.flops_dense,
            "flops_effective": counted.flops_effective,
            "activation_peak_bytes": self.activations.peak_bytes,
            "activation_peak_layer": self.activations.peak_layer,
            "file_bytes": self.file_bytes,
            "dense_bytes": self.dense_bytes,
            "weight_bytes": self.weight_bytes,
            "runs_in": self.runs_in,
            "refused": self.refused,
            "caches": asdict(self.caches),
            "fits": self.fits,
            "read_from": "SRAM" if spent.from_cache else "DRAM",
            "arithmetic_uj": spent.arithmetic_uj,
            "memory_uj": spent.memory_uj,
            "energy_uj": spent.energy_uj,
            "power_w": self.power_w,
            "latency": {
                who: asdict(found) | {"frames_per_s": self.frames_per_s(who)} for who, found in self.latency.items()
            },
            "layers": [self._layer(layer) for layer in counted],
        }

    def _layer(self, layer: LayerOperations) -> dict[str, Any]:
        return asdict(layer) | {
            "parameters": layer.parameters,
            "weight_density": layer.weight_density,
            "macs_effective": layer.macs_effective,
            "flops_dense": layer.flops_dense,
            "flops_effective": layer.flops_effective,
            "energy_uj": self._energy(layer).energy_uj,
        }

    def _energy(self, part: Operations | LayerOperations) -> Energy:
        # The weights fit together or not at all: a layer's are overwritten by the next one's.
        fit = self.fits is not None
        return energy(macs=part.macs_effective, weight_bytes=part.weight_bytes, from_cache=fit)


COMPARED = (
    "parameters",
    "nonzeros",
    "macs_dense",
    "macs_effective",
    "activation_peak_bytes",
    "file_bytes",
    "weight_bytes",
    "energy_uj",
    "power_w",
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two networks, measured in one run and timed in turns."""

    before: Measurement
    after: Measurement

    def ratios(self) -> dict[str, float | None]:
        """How many times less each takes after; None where one of them is not there or is 0.

        The key "latency_ms" compares the fastest way in which each runs.
        """
        before, after = ({**one.to_dict(), "latency_ms": _fastest_ms(one)} for one in (self.before, self.after))
        return {name: _ratio(before[name], after[name]) for name in (*COMPARED, "latency_ms")}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under keys that stay."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict(), "ratios": self.ratios()}


def measure(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    rate_hz: float = RATE_HZ,
    file: bytes | None = None,
    batches: Iterable[tuple[Tensor, ...]] | None = None,
    activation_density: Mapping[str, float] | None = None,
    max_bytes: int | None = None,
    on_chip: Caches | None = None,
) -> Measurement:
    """What an answer to `inputs` costs; the arguments are a Subject's.

    rate_hz   inferences a second that the power is for
    on_chip   caches of the device in mind; this machine's by default

    Raises TersenetError for inputs without an example, a rate that is not more than 0, densities outside [0, 1].
    """
    subject = Subject(
        model=model,
        inputs=inputs,
        file=file,
        batches=batches,
        activation_density=activation_density,
        max_bytes=max_bytes,
    )
    return _measure([subject], rate_hz, on_chip)[0]


def compare(before: Subject, after: Subject, *, rate_hz: float = RATE_HZ, on_chip: Caches | None = None) -> Comparison:
    """Both measured as `measure` does it, and timed in turns, so that what disturbs the machine disturbs them alike."""
    first, second = _measure([before, after], rate_hz, on_chip)
    return Comparison(before=first, after=second)


def _measure(subjects: Sequence[Subject], rate_hz: float, on_chip: Caches | None) -> list[Measurement]:
    ready = [_Ready(subject) for subject in subjects]
    networks = {f"{number} {TORCH}": (one.model, one.inputs) for number, one in enumerate(ready)}
    sessions = {f"{number} {OURS}": one.call() for number, one in enumerate(ready) if one.session is not None}
    known = caches() if on_chip is None else on_chip
    # What can be refused is refused before anything is timed.
    found = [one.measurement(rate_hz, known) for one in ready]
    times = compare_networks(networks, sessions)
    return [
        replace(one, latency={who: times[key] for who in (TORCH, OURS) if (key := f"{number} {who}") in times})
        for number, one in enumerate(found)
    ]


class _Ready:
    """A subject checked, its weights dense, its file open."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.inputs = subject.inputs
        if not self.inputs or any(one.ndim == 0 or len(one) == 0 for one in self.inputs):
            raise TersenetError("inputs without an example came; expected tensors with the batch axis first")
        model = subject.model
        if isinstance(model, Network):
            model = Network(model.graph, {name: tensor.cpu() for name, tensor in model.tensors().items()})
        elsewhere = {str(one.device) for one in (*model.parameters(), *self.inputs) if one.device.type != "cpu"}
        if elsewhere:
            raise TersenetError(f"a network or inputs on {', '.join(sorted(elsewhere))}; move them to the CPU first")
        self.model = model
        self.session, self.refused = self._open()

    def measurement(self, rate_hz: float, on_chip: Caches) -> Measurement:
        """All but the latency."""
        counted = self._operations()
        return Measurement(
            operations=counted if self.session is None else _as_run(counted, self.session),
            activations=activation_memory(self.model, self.inputs),
            dense_bytes=counted.weight_bytes,
            caches=on_chip,
            latency={},
            batch=len(self.inputs[0]),
            rate_hz=rate_hz,
            file_bytes=None if self.subject.file is None else len(self.subject.file),
            runs_in=TORCH if self.session is None else OURS,
            refused=self.refused,
        )

    def call(self) -> Callable[[], Any]:
        session, arrays = self.session, [one.numpy() for one in self.inputs]
        assert session is not None
        return lambda: session(*arrays)

    def _operations(self) -> Operations:
        counted = count_operations(self.model, inputs=self.inputs)
        if self.subject.activation_density is not None:
            return counted.with_activation_density(self.subject.activation_density)
        if self.subject.batches is None:
            return counted
        return counted.with_input_density(measure_input_density(self.model, self.subject.batches))

    def _open(self) -> tuple[runtime.Session | None, str | None]:
        if self.subject.file is None:
            return None, None
        batch = len(self.inputs[0])
        try:
            return runtime.open_bytes(self.subject.file, threads=1, batch=batch, max_bytes=self.subject.max_bytes), None
        except TersenetError as error:
            return None, str(error)


def _as_run(counted: Operations, session: runtime.Session) -> Operations:
    """The bytes of each layer as our runtime holds them; what belongs to no layer with a weight is with the others."""
    held: dict[str, int] = {}
    for row in session.plan(rounds=1):
        name = row.weight.removesuffix(".weight")
        held[name] = held.get(name, 0) + row.size_bytes
    layers = {one.name: replace(one, weight_bytes=held.pop(one.name, 0)) for one in counted}
    rest = session.weight_bytes - sum(one.weight_bytes for one in layers.values())
    if rest:
        empty = LayerOperations(name=OTHERS, weights=0, nonzeros=0, biases=0, macs_dense=0, weight_bytes=0)
        layers[OTHERS] = replace(layers.get(OTHERS, empty), weight_bytes=rest)
    return Operations(layers=tuple(layers.values()))


def _fastest_ms(measured: Measurement) -> float | None:
    return min((one.median_ms for one in measured.latency.values()), default=None)


def _ratio(before: float | None, after: float | None) -> float | None:
    return before / after if before and after else None
