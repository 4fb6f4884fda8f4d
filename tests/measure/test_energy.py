"""Energy by the table: what the literature computes comes back."""

import pytest

from tersenet.measure.energy import energy


def test_a_billion_connections_from_dram_twenty_times_a_second_are_12_8_watts():
    got = energy(macs=0, weight_bytes=4e9, cache_bytes=None)
    assert got.watts(20) == pytest.approx(12.8)
    assert got.energy_uj == pytest.approx(640_000)


def test_weights_that_just_fit_the_cache_are_read_for_a_128th():
    fits = energy(macs=0, weight_bytes=1000, cache_bytes=1000)
    misses = energy(macs=0, weight_bytes=1001, cache_bytes=1000)
    assert fits.fits_cache and not misses.fits_cache
    assert misses.memory_uj / fits.memory_uj == pytest.approx(128 * 1.001)


def test_a_multiply_add_of_floats_takes_4_6_picojoules():
    got = energy(macs=1e6, weight_bytes=0, cache_bytes=None)
    assert got.arithmetic_uj == pytest.approx(4.6) and got.energy_uj == got.arithmetic_uj
