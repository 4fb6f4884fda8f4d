"""A file opened to be run: numpy in, numpy out. The work is the C++ core's (cpp/runtime)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import tersenet._core as _core
from tersenet.container import io_safe
from tersenet.errors import TersenetError
from tersenet.runtime import cache

Activations = Literal["float32", "int8"]

OUT_OF_MEMORY = "this machine has no memory left for the network at this batch"


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: its name, its shape with None for the batch, its dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Tried:
    """A kernel that was timed for a layer when the session opened; 0 us where it was taken from the cache."""

    kernel: str
    size_bytes: int
    time_us: float


@dataclass(frozen=True)
class PlanRow:
    """One operation as it runs: what it took in, its kernel, the bytes it keeps, its time when chosen and now."""

    operation: str
    weight: str
    kernel: str
    size_bytes: int
    expected_us: float
    measured_us: float
    tried: tuple[Tried, ...]


class Session:
    """An open network. Use one thread at a time for each session; others wait.

    inputs, outputs   what it takes and gives, in order
    weight_bytes      memory that weights take in the form they are multiplied from
    """

    def __init__(self, core: _core.Session, name: str) -> None:
        self._core = core
        self._name = name
        self.inputs = tuple(TensorInfo(name, (None, *shape), dtype) for name, dtype, shape in core.inputs())

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        one, two = self._asked(self._core.outputs, 1), self._asked(self._core.outputs, 2)
        return tuple(
            TensorInfo(name, tuple(a if a == b else None for a, b in zip(shape, other)), dtype)
            for (name, dtype, shape), (_, _, other) in zip(one, two)
        )

    @property
    def threads(self) -> int:
        return self._core.threads

    @property
    def weight_bytes(self) -> int:
        return self._core.weight_bytes

    @property
    def value_bytes(self) -> int:
        """Memory for the values between operations, at the last batch."""
        return self._core.value_bytes

    def __call__(self, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """One array for each input, batch first; the output, or a tuple of them where there are several.

        Any batch size, 0 among them. Arrays need not be contiguous. Raises TersenetError for a shape or a dtype that
        differs from `inputs`.
        """
        given = [np.ascontiguousarray(array) if array.ndim else array for array in map(np.asarray, arrays)]
        try:
            outputs = self._asked(self._core.run, given)
        except TersenetError as error:
            pictures = any(
                array.ndim == 4 and array.shape[1:] != one.shape[1:] for array, one in zip(given, self.inputs)
            )
            hint = "; runtime.open(..., shapes=...) takes other heights and widths, where they run" if pictures else ""
            raise TersenetError(f"{error}{hint}") from None
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def plan(self, batch: int = 1, rounds: int = 7) -> tuple[PlanRow, ...]:
        """Each operation with its kernel; times are medians of `rounds` runs on zeros at this batch, in microseconds."""
        if batch < 1 or rounds < 1:
            raise TersenetError(f"a plan for a batch of {batch} in {rounds} rounds; both must be at least 1")
        rows = self._asked(self._core.plan, batch, rounds)
        return tuple(
            PlanRow(
                operation, weight, kernel, size_bytes, expected_us, measured_us, tuple(Tried(*one) for one in tried)
            )
            for operation, weight, kernel, size_bytes, expected_us, measured_us, tried in rows
        )

    def _asked(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except ValueError as error:
            raise TersenetError(f"{self._name}: {error}") from None
        except TypeError:
            raise TersenetError(
                f"{self._name}: an array of dtype {', '.join(str(np.asarray(one).dtype) for one in arguments[0])} came; "
                f"expected {', '.join(one.dtype for one in self.inputs)}"
            ) from None
        except MemoryError:
            raise TersenetError(f"{self._name}: {OUT_OF_MEMORY}") from None


def open(
    path: str | os.PathLike[str],
    *,
    threads: int = 0,
    max_bytes: int | None = None,
    batch: int = 1,
    measure: bool = False,
    activations: Activations = "float32",
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> Session:
    """Open a .terse file to be run.

    threads     how many may work on one call, the caller among them; 0: as many as this process may use
    max_bytes   the most that weights may decode to, and that values may take; None: 1000 times the file's length
                (64 MiB to 16 GiB) and 16 GiB
    batch       the batch that kernels are chosen for; any batch runs
    measure     time the kernels again although this machine's cache (tersenet.runtime.cache) knows the fastest
    activations "int8": linear layers and convolutions, but for those with one input channel a group, multiply
                eight-bit integers. Each example's range is taken as it comes; weights go to eight bits a row, or keep
                their values where these lie on such a grid (cpp/tersenet/kernels/int8.h). Faster, and other answers:
                about 1 % of the largest output
    shapes      of one example of each input, where pictures have other heights and widths than the file's

    Raises TersenetError for a damaged file and for operations that the runtime lacks, which are named.
    """
    return open_bytes(
        io_safe.read_file(path),
        name=os.fspath(path),
        threads=threads,
        max_bytes=max_bytes,
        batch=batch,
        measure=measure,
        activations=activations,
        shapes=shapes,
    )


def open_bytes(
    data: bytes,
    *,
    name: str = "file",
    threads: int = 0,
    max_bytes: int | None = None,
    batch: int = 1,
    measure: bool = False,
    activations: Activations = "float32",
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> Session:
    """The same for a file's bytes; `name` is for errors."""
    if threads < 0 or batch < 1:
        raise TersenetError(f"{threads} threads and a batch of {batch}; expected at least 0 and 1")
    if activations not in ("float32", "int8"):
        raise TersenetError(f"activations {activations}; expected float32 or int8")
    int8 = activations == "int8"
    if shapes is not None:
        data = _of_shapes(data, shapes, name, max_bytes)
    threads = threads or _usable_cores()
    try:
        key = cache.key(data, threads=threads, batch=batch, int8=int8)
        known = {} if measure else cache.load(key)
        core = _open(data, threads, max_bytes, batch, int8, known)
    except ValueError as error:  # a column of kernels that this machine lacks, and every TersenetError
        raise TersenetError(f"{name}: {error}") from None
    session = Session(core, name)
    chosen = dict(core.kernels())
    if chosen != known:
        cache.store(key, chosen)
    return session


def _of_shapes(data: bytes, shapes: Sequence[tuple[int, ...]], name: str, max_bytes: int | None) -> bytes:
    """The file's bytes with inputs of these shapes."""
    from tersenet.container import with_graph  # not needed by other sessions
    from tersenet.ir.sizes import resized

    try:
        return with_graph(data, lambda graph: resized(graph, shapes), max_bytes=max_bytes)
    except TersenetError as error:
        raise TersenetError(f"{name}: {error}") from None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open(
    data: bytes, threads: int, max_bytes: int | None, batch: int, int8: bool, kernels: dict[str, str]
) -> _core.Session:
    limit = 0 if max_bytes is None else min(max(max_bytes, 1), 2**63)
    try:
        return _core.open_session(np.frombuffer(data, np.uint8), threads, limit, batch, int8, list(kernels.items()))
    except ValueError as error:
        if kernels:  # the cache may name a kernel that this build does not have
            return _open(data, threads, max_bytes, batch, int8, {})
        raise TersenetError(str(error)) from None
    except MemoryError:
        raise TersenetError(OUT_OF_MEMORY) from None
