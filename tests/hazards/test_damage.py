"""Damage to a whole file is refused, always, with the name of the section that it hit."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tersenet.container import decode, decode_dense
from tersenet.container.sections import PACKED, SECTIONS, split
from tersenet.errors import TersenetError

NAMES = ("raw", "huffman", "rans", "range")


def section_at(data: bytes, position: int) -> str:
    """Whose checksum a byte is under; a packed file has one for all of it."""
    found = split(data, 1 << 40)
    start = found.header_bytes
    if found.version == PACKED or position < start:
        return "header"
    for kind, section in found.by_kind.items():
        start += len(section)
        if position < start:
            return SECTIONS[kind]
    raise AssertionError(position)


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_refused_with_its_section(files, name):
    data = files[name]
    for position in range(len(data)):
        section = section_at(data, position)
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(TersenetError, match=f"section {section} "):
                decode(bytes(damaged))


@pytest.mark.parametrize("name", NAMES)
def test_the_fast_reader_refuses_a_flipped_bit_in_every_byte(files, name):
    data = files[name]
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(TersenetError, match=f"section {section_at(data, position)} "):
            decode_dense(bytes(damaged))


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_refused_with_its_section(files, name):
    data = files[name]
    for length in range(len(data)):
        section = section_at(data, length)
        with pytest.raises(TersenetError, match=f"section {section} is cut"):
            decode(data[:length])


@pytest.mark.parametrize("name", NAMES)
def test_every_appended_byte_is_refused_with_the_last_section(files, name):
    data = files[name]
    last = section_at(data, len(data) - 1)
    packed = split(data, 1 << 40).version == PACKED
    for byte in range(256):
        what = "is cut or damaged" if packed else "ends at byte .* 1 bytes follow"
        with pytest.raises(TersenetError, match=f"section {last} {what}"):
            decode(data + bytes([byte]))
    with pytest.raises(TersenetError, match=f"section {last} {'is cut or damaged' if packed else 'ends'}"):
        decode(data + data)


@pytest.mark.parametrize("name", NAMES)
def test_overwritten_swapped_and_zeroed_stretches_are_refused(files, name):
    data = files[name]
    rng = np.random.default_rng(0)
    tried = 0
    for _ in range(2000):
        damaged = bytearray(data)
        length = int(rng.integers(2, 65))
        at, other = (int(rng.integers(0, len(data) - length)) for _ in range(2))
        how = rng.integers(0, 3)
        if how == 0:
            damaged[at : at + length] = rng.bytes(length)
        elif how == 1:
            damaged[at : at + length], damaged[other : other + length] = (
                data[other : other + length],
                data[at : at + length],
            )
        else:
            damaged[at : at + length] = bytes(length)
        if damaged == data:
            continue
        tried += 1
        with pytest.raises(TersenetError, match="section "):
            decode(bytes(damaged))
    assert tried > 1000


def test_an_undamaged_file_is_read(files):
    for data in files.values():
        assert decode(data).file_bytes == len(data)


def test_without_checksums_damage_would_pass_so_the_checksums_are_what_refuses(files, reseal):
    # The twin: a flipped bit in a table of floats, sealed again, is a file like any other.
    data = files["raw"]
    sections = split(data, 1 << 40).by_kind
    weights = bytearray(sections[2])
    weights[-20] ^= 1
    sealed = reseal(data, 2, bytes(weights))
    assert zlib.crc32(bytes(weights)) != zlib.crc32(bytes(sections[2]))
    assert decode(sealed).file_bytes == len(data)
