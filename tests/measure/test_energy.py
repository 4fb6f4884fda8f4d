"""Energy by the table: what the literature computes comes back."""

import pytest

from tersenet.measure.energy import energy


def test_a_billion_connections_from_dram_twenty_times_a_second_are_12_8_watts():
    got = energy(macs=0, weight_bytes=4e9, from_cache=False)
    assert got.watts(20) == pytest.approx(12.8)
    assert got.energy_uj == pytest.approx(640_000)


def test_weights_in_the_cache_are_read_for_a_128th():
    near, far = (energy(macs=0, weight_bytes=1000, from_cache=from_cache) for from_cache in (True, False))
    assert far.memory_uj / near.memory_uj == pytest.approx(128)


def test_a_multiply_add_of_floats_takes_4_6_picojoules():
    got = energy(macs=1e6, weight_bytes=0, from_cache=False)
    assert got.arithmetic_uj == pytest.approx(4.6) and got.energy_uj == got.arithmetic_uj
