"""The closed grammar that weights are stored in: ten kinds of node, each with a shape known before decoding.

A storage tree says how few numbers become many. Its leaves are streams of integers and small tables of
floats; everything above them is a gather, a placement, or one multiply after exact integer arithmetic, so
that numpy, torch and C++ decode it to the same bits.

Invariants, held by the constructors and trusted by everything downstream:
  1. `shape` and `kind` ("int" or "float") follow from the declared sizes alone, never from stored values.
  2. A shape has at most MAX_DIMS dimensions and at most MAX_NUMEL elements.
  3. Integers are smaller than 2**32; those that `affine` turns into floats are smaller than 2**24, so that
     the difference to a zero point is exact in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from tersenet.bits import IntStream
from tersenet.errors import TersenetError

MAX_DIMS = 8
MAX_NUMEL = 2**48
MAX_TRANSFORM = 64
EXACT_IN_FLOAT32 = 2**24

Shape = tuple[int, ...]


def checked_numel(shape: Shape) -> int:
    """The number of elements of `shape`; the one place where sizes are multiplied.

    The limit holds for the product without zeros, so that no array library overflows on (0, 2**60).
    """
    if len(shape) > MAX_DIMS:
        raise TersenetError(f"a shape of {len(shape)} dimensions; at most {MAX_DIMS} can be stored")
    if any(size < 0 for size in shape):
        raise TersenetError(f"shape {shape} has a negative size")
    spanned = prod(max(size, 1) for size in shape)
    if spanned > MAX_NUMEL:
        raise TersenetError(f"shape {shape} spans {spanned} elements; at most {MAX_NUMEL} can be stored")
    return prod(shape)


class Storage:
    """One node of the grammar."""

    shape: Shape
    kind: str  # "int" or "float"

    @property
    def numel(self) -> int:
        return checked_numel(self.shape)


def _need(condition: bool, sentence: str) -> None:
    if not condition:
        raise TersenetError(sentence)


@dataclass(frozen=True, eq=False)
class Integers(Storage):
    """A stream of n integers in [0, alphabet); shape (n,)."""

    stream: IntStream
    shape: Shape = field(init=False)
    kind: str = field(init=False, default="int")

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (len(self.stream.values),))

    @property
    def alphabet(self) -> int:
        return self.stream.alphabet


@dataclass(frozen=True, eq=False)
class Floats(Storage):
    """A table of n floats, float32 or float16; shape (n,). Decodes to float32.

    planes   store byte k of every value together, each such plane an integer stream of its own, so that a
             coder can use what sign and exponent have in common; False keeps the bytes as they are
    """

    values: np.ndarray
    planes: bool = False
    shape: Shape = field(init=False)
    kind: str = field(init=False, default="float")

    def __post_init__(self) -> None:
        values = self.values
        _need(
            values.ndim == 1 and values.dtype in (np.float32, np.float16),
            f"floats are stored from a 1-D float32 or float16 array; got {values.dtype} of shape {values.shape}",
        )
        object.__setattr__(self, "shape", (len(values),))


def _kind_of(node: Storage, wanted: str, what: str) -> None:
    _need(node.kind == wanted, f"{what} must hold {wanted} values; got {node.kind} values")


@dataclass(frozen=True, eq=False)
class Affine(Storage):
    """(levels - zero) * step in float32; shape of `levels`.

    `step` (float) and `zero` (int) are 1-D. With m steps the flattened levels fall into m equal runs, one
    step each; `zero` has m entries as well, or one for all.
    """

    levels: Storage
    zero: Storage
    step: Storage
    shape: Shape = field(init=False)
    kind: str = field(init=False, default="float")

    def __post_init__(self) -> None:
        _kind_of(self.levels, "int", "affine levels")
        _kind_of(self.zero, "int", "an affine zero point")
        _kind_of(self.step, "float", "an affine step")
        for ints in (self.levels, self.zero):
            _need(
                all(n.alphabet <= EXACT_IN_FLOAT32 for n in walk(ints) if isinstance(n, Integers)),
                f"affine levels and zero points lie below {EXACT_IN_FLOAT32}, where float32 is exact",
            )
        steps = self.step.numel
        _need(len(self.step.shape) == 1 and steps >= 1, f"an affine step is 1-D; got shape {self.step.shape}")
        _need(
            self.levels.numel % steps == 0,
            f"{self.levels.numel} levels do not fall into {steps} equal runs, one for each step",
        )
        _need(
            self.zero.shape in ((1,), (steps,)),
            f"an affine of {steps} steps has 1 or {steps} zero points; got shape {self.zero.shape}",
        )
        object.__setattr__(self, "shape", self.levels.shape)


@dataclass(frozen=True, eq=False)
class Table(Storage):
    """entries[index]: each index is replaced by an entry, a number or a small block of them.

    entries (k, *block), index (*any) of ints below k -> (*any, *block)
    """

    entries: Storage
    index: Storage
    shape: Shape = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        _kind_of(self.index, "int", "a table's index")
        _need(len(self.entries.shape) >= 1, "a table's entries need at least one dimension")
        shape = self.index.shape + self.entries.shape[1:]
        checked_numel(shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "kind", self.entries.kind)


@dataclass(frozen=True, eq=False)
class Scatter(Storage):
    """Blocks of `values` placed along a first axis of length `size`, zero elsewhere.

    gaps      int (g,): a symbol s below span = alphabet - 1 skips s places and puts the next block there;
              s == span is a filler: it skips span places and puts nothing
    bitmask   int (size,), alphabet 2: a block goes wherever the bit is 1

    values (m, *block) -> (size, *block); exactly m blocks are placed, which is checked while decoding.
    """

    values: Storage
    position: Storage
    size: int
    bitmask: bool
    shape: Shape = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        _need(isinstance(self.position, Integers), "scatter positions must be a stream of integers")
        _need(len(self.values.shape) >= 1, "scattered values need at least one dimension")
        if self.bitmask:
            _need(
                self.position.shape == (self.size,) and self.position.alphabet == 2,  # type: ignore[attr-defined]
                f"a bitmask over {self.size} places has {self.size} values of alphabet 2",
            )
        else:
            _need(self.position.alphabet >= 2, "gaps need an alphabet of at least 2")  # type: ignore[attr-defined]
        _need(
            self.values.shape[0] <= self.size,
            f"{self.values.shape[0]} blocks do not fit in {self.size} places",
        )
        shape = (self.size, *self.values.shape[1:])
        checked_numel(shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "kind", self.values.kind)


@dataclass(frozen=True, eq=False)
class Sum(Storage):
    """((a + b) + c) + ... elementwise in float32, from left to right.

    Here as in Affine and Transform, a NaN that arithmetic gives is written as 0x7fc00000, as machines differ.
    """

    parts: tuple[Storage, ...]
    shape: Shape = field(init=False)
    kind: str = field(init=False, default="float")

    def __post_init__(self) -> None:
        _need(len(self.parts) >= 1, "a sum needs at least one part")
        for part in self.parts:
            _kind_of(part, "float", "each part of a sum")
            _need(
                part.shape == self.parts[0].shape,
                f"the parts of a sum differ in shape: {self.parts[0].shape} and {part.shape}",
            )
        object.__setattr__(self, "shape", self.parts[0].shape)


@dataclass(frozen=True, eq=False)
class Concat(Storage):
    """Parts of one kind joined along `axis`."""

    parts: tuple[Storage, ...]
    axis: int
    shape: Shape = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        _need(len(self.parts) >= 1, "a concat needs at least one part")
        first = self.parts[0]
        _need(0 <= self.axis < len(first.shape), f"axis {self.axis} is not one of shape {first.shape}")
        joined = 0
        for part in self.parts:
            rest = part.shape[: self.axis] + part.shape[self.axis + 1 :]
            _need(
                part.kind == first.kind
                and len(part.shape) == len(first.shape)
                and rest == first.shape[: self.axis] + first.shape[self.axis + 1 :],
                f"parts of shape {first.shape} and {part.shape} cannot be joined along axis {self.axis}",
            )
            joined += part.shape[self.axis]
        shape = (*first.shape[: self.axis], joined, *first.shape[self.axis + 1 :])
        checked_numel(shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "kind", first.kind)


@dataclass(frozen=True, eq=False)
class Reshape(Storage):
    """The same elements in row-major order under another shape."""

    source: Storage
    shape: Shape
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        _need(
            checked_numel(self.shape) == self.source.numel,
            f"{self.source.numel} elements of shape {self.source.shape} cannot be reshaped to {self.shape}",
        )
        object.__setattr__(self, "kind", self.source.kind)


@dataclass(frozen=True, eq=False)
class Permute(Storage):
    """Axis i of the result is axis `axes[i]` of the source."""

    source: Storage
    axes: Shape
    shape: Shape = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        _need(
            sorted(self.axes) == list(range(len(self.source.shape))),
            f"axes {self.axes} are not an order of the {len(self.source.shape)} axes of {self.source.shape}",
        )
        object.__setattr__(self, "shape", tuple(self.source.shape[axis] for axis in self.axes))
        object.__setattr__(self, "kind", self.source.kind)


@dataclass(frozen=True, eq=False)
class Transform(Storage):
    """The inverse orthonormal cosine transform (DCT-II) along each of the last `axes` axes (1 or 2).

    The matrix is fixed: entry (t, f) is c_f cos(pi f (2 t + 1) / 2 n) with c_0 = sqrt(1/n), else sqrt(2/n),
    rounded to a multiple of 2**-20, so that every machine has the same one. Sums run over f = 0, 1, ...,
    one float32 multiply and one float32 add each, the last axis first.
    """

    source: Storage
    axes: int
    shape: Shape = field(init=False)
    kind: str = field(init=False, default="float")

    def __post_init__(self) -> None:
        _kind_of(self.source, "float", "a transform's source")
        shape = self.source.shape
        _need(self.axes in (1, 2) and len(shape) >= self.axes, f"{self.axes} axes of shape {shape}: 1 or 2 can be")
        _need(
            all(1 <= size <= MAX_TRANSFORM for size in shape[len(shape) - self.axes :]),
            f"transformed axes have 1 to {MAX_TRANSFORM} elements; got shape {shape}",
        )
        object.__setattr__(self, "shape", shape)


_FIELDS: dict[type[Storage], tuple[str, ...]] = {
    Affine: ("levels", "zero", "step"),
    Table: ("entries", "index"),
    Scatter: ("position", "values"),
    Reshape: ("source",),
    Permute: ("source",),
    Transform: ("source",),
}


def children(node: Storage) -> tuple[Storage, ...]:
    """The nodes directly below `node`, in the order in which the file holds them."""
    if isinstance(node, (Sum, Concat)):
        return node.parts
    return tuple(getattr(node, name) for name in _FIELDS.get(type(node), ()))


def walk(node: Storage) -> Iterator[Storage]:
    """`node` and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)
