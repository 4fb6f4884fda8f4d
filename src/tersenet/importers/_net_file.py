"""The `.net` files of Han et al. 2016 (github.com/songhan/SqueezeNet-Deep-Compression), read byte for byte.

READ FIRST
  1. A file has no magic number, no names and no shapes: the network says how many layers there are and how large.
  2. Little-endian: one uint32 a layer, its number of stored entries; then for each layer the codebook (float32), the
     bias (float32), the codes (8 bits, or 4 in fully connected layers) and the gaps (4 bits, two a byte, low half first).
  3. Gap g puts an entry g + 1 places behind the one before. A longer run of zeros is bridged by fillers, gap 15, code 0.
  4. Nothing is allocated before the bytes that it needs have been seen to be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from tersenet.errors import TersenetError

CODE_BITS = {"conv2d": 8, "linear": 4}
"""Bits of a code by operation, and so the codebook's size: 256 shared values in convolutions, 16 elsewhere."""
COUNT_BYTES = 4
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """What the network knows of a layer: its weight's and bias' names, its operation, the shapes."""

    name: str
    op: str
    weight_shape: tuple[int, ...]
    bias_size: int


@dataclass(frozen=True, kw_only=True, eq=False)
class NetLayer:
    """A layer as the file holds it.

    values     the codebook, float32
    codes      one for each stored entry
    position   of each entry in the flattened weight, ascending
    """

    values: np.ndarray
    bias: np.ndarray
    codes: np.ndarray
    position: np.ndarray


def read_net(data: bytes, layers: list[LayerShape], name: str) -> list[NetLayer]:
    """The layers of a `.net` file that holds exactly this network. Refuses anything else with a sentence."""
    reader = _Reader(data, name)
    counts = reader.take(COUNT_BYTES * len(layers), f"the entry counts of {len(layers)} layers").view("<u4").tolist()
    for layer, count in zip(layers, counts):
        size = prod(layer.weight_shape)
        if count > size:
            raise TersenetError(
                f"{name}: {count:,} entries are declared for {layer.name}, whose weight has {size:,} places; "
                "the file is damaged or of another network"
            )
    wanted = COUNT_BYTES * len(layers) + sum(_layer_bytes(layer, count) for layer, count in zip(layers, counts))
    if wanted != len(data):
        raise TersenetError(
            f"{name}: its counts ask for {wanted:,} bytes, the file has {len(data):,}; it is cut, damaged or of another network"
        )
    return [_read_layer(reader, layer, count) for layer, count in zip(layers, counts)]


def _layer_bytes(layer: LayerShape, count: int) -> int:
    bits = _code_bits(layer)
    return FLOAT_BYTES * (2**bits + layer.bias_size) + _packed_bytes(count, bits) + _packed_bytes(count, 4)


def _read_layer(reader: _Reader, layer: LayerShape, count: int) -> NetLayer:
    bits = _code_bits(layer)
    where = layer.name
    values = reader.take(FLOAT_BYTES * 2**bits, f"{where}: codebook").view("<f4").astype(np.float32)
    bias = reader.take(FLOAT_BYTES * layer.bias_size, f"{where}: bias").view("<f4").astype(np.float32)
    codes = reader.take(_packed_bytes(count, bits), f"{where}: codes")
    if bits == 4:
        codes = _halves(codes, count, reader.name, f"{where}: codes")
    gaps = _halves(reader.take(_packed_bytes(count, 4), f"{where}: gaps"), count, reader.name, f"{where}: gaps")
    for what, floats in (("codebook", values), ("bias", bias)):
        if not np.isfinite(floats).all():
            raise TersenetError(
                f"{reader.name}: the {what} of {where} holds NaN or infinite values; the file is damaged"
            )
    position = np.cumsum(gaps.astype(np.int64) + 1) - 1
    size = prod(layer.weight_shape)
    if count and position[-1] >= size:
        raise TersenetError(
            f"{reader.name}: the gaps of {where} reach place {int(position[-1]):,}; its weight has {size:,}: "
            "the file is damaged or of another network"
        )
    return NetLayer(values=values, bias=bias, codes=codes, position=position)


def _code_bits(layer: LayerShape) -> int:
    if layer.op not in CODE_BITS:
        raise TersenetError(
            f"layer {layer.name} is a {layer.op}; this format holds convolutions and fully connected layers only"
        )
    return CODE_BITS[layer.op]


def _packed_bytes(count: int, bits: int) -> int:
    return (count * bits + 7) // 8


def _halves(packed: np.ndarray, count: int, name: str, what: str) -> np.ndarray:
    """`count` 4-bit numbers, the low half of each byte first; the half that is left over is zero."""
    halves = np.empty(2 * len(packed), np.uint8)
    halves[0::2], halves[1::2] = packed & 15, packed >> 4
    if halves[count:].any():
        raise TersenetError(f"{name}: {what}: the half byte behind the last one is not 0; the file is damaged")
    return halves[:count]


class _Reader:
    """Bytes from the front, never more than there are."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._data = np.frombuffer(data, np.uint8)
        self._at = 0

    def take(self, size: int, what: str) -> np.ndarray:
        left = len(self._data) - self._at
        if size > left:
            raise TersenetError(
                f"{self.name}: {what} need {size:,} bytes at byte {self._at:,}, {left:,} are left; it is cut"
            )
        self._at += size
        return self._data[self._at - size : self._at]
