"""Packing bytes: the core and its twin agree, and nothing but what was packed is unpacked."""

from __future__ import annotations

import numpy as np
import pytest
import tersenet._core as _core
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.coding.packed import pack, unpack
from tersenet.coding.reference import packed as reference
from tersenet.errors import TersenetError


@settings(deadline=None, max_examples=15)
@given(st.binary(max_size=60))
def test_the_core_and_its_twin_pack_alike_and_unpack_what_was_packed(data):
    code = pack(data)
    assert code == reference.pack(data)
    assert unpack(code, len(data), name="x") == data
    assert reference.unpack(code, len(data)) == data


@settings(deadline=None, max_examples=5)
@given(st.binary(min_size=1, max_size=20), st.integers(0, 255))
def test_a_cut_and_a_byte_more_are_refused(data, more):
    code = pack(data)
    for wrong in (code[:-1], code + bytes([more])):
        for read in (
            lambda wrong: unpack(wrong, len(data), name="x"),
            lambda wrong: reference.unpack(wrong, len(data)),
        ):
            with pytest.raises(TersenetError):
                read(wrong)


@settings(deadline=None, max_examples=20)
@given(st.binary(max_size=30), st.integers(0, 40))
def test_noise_is_refused_by_both_or_unpacks_to_the_same_and_packs_back(code, n):
    try:
        found = unpack(code, n, name="x")
    except TersenetError:
        with pytest.raises(TersenetError):
            reference.unpack(code, n)
        return
    assert found == reference.unpack(code, n) and pack(found) == code


@pytest.mark.parametrize("n", [1 << 17, 1 << 40])
def test_more_than_the_code_can_hold_is_refused_before_it_is_allocated(n):
    with pytest.raises(TersenetError, match="cannot hold"):
        unpack(b"\x01", n, name="x")


def test_counters_that_share_a_slot_are_the_same_in_both():
    # So many different contexts that tables of 2^12 counters, which a few bytes get, are crowded.
    data = np.random.default_rng(0).bytes(300)
    assert pack(data) == reference.pack(data)


def test_what_repeats_takes_little_and_noise_hardly_more_than_itself():
    noise = np.random.default_rng(0).bytes(2000)
    assert len(pack(noise)) < 1.03 * len(noise)
    assert len(pack(noise[:100] * 20)) < 1.3 * len(pack(noise[:100]))
    assert len(pack(_core.byte_primer)) < len(_core.byte_primer) / 8


def test_the_table_of_counters_does_not_grow_without_end():
    data = bytes(2_000_000)
    assert unpack(pack(data), len(data), name="x") == data
