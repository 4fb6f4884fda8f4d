"""What it costs: both networks' numbers as recorded, and a sentence where there are none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tersenet.report import costs
from tersenet.report.record import Record
from tersenet.report.tiles import tiles

LAYER = {
    "name": "fc",
    "weights": 480,
    "nonzeros": 480,
    "macs_dense": 480,
    "macs_effective": 480.0,
    "weight_bytes": 1968,
}
BEFORE: dict[str, Any] = {
    "rate_hz": 20.0, "parameters": 492, "weights": 480, "nonzeros": 480, "macs_dense": 480, "macs_effective": 480.0,
    "flops_effective": 960.0, "activation_peak_bytes": 208, "activation_peak_layer": "fc", "file_bytes": None,
    "weight_bytes": 1968, "runs_in": "torch", "refused": None, "fits": None,
    "caches": {"l1_bytes": 1000, "l2_bytes": None, "l3_bytes": None}, "read_from": "DRAM", "arithmetic_uj": 2.0,
    "memory_uj": 398.0, "energy_uj": 400.0, "power_w": 0.008,
    "latency": {"torch": {"median_ms": 1.5, "spread": 0.1, "repeats": 30, "frames_per_s": 666.7}},
    "layers": [LAYER | {"energy_uj": 400.0}],
}  # fmt: skip
AFTER = BEFORE | {
    "nonzeros": 60, "macs_effective": 60.0, "flops_effective": 120.0, "weight_bytes": 246, "runs_in": "tersenet",
    "fits": "L1", "read_from": "SRAM", "arithmetic_uj": 0.25, "memory_uj": 0.25, "energy_uj": 0.5, "power_w": 1e-5,
    "latency": {
        "torch": {"median_ms": 1.5, "spread": 0.1, "repeats": 30, "frames_per_s": 666.7},
        "tersenet": {"median_ms": 0.25, "spread": 0.1, "repeats": 30, "frames_per_s": 4000.0},
    },
    "layers": [LAYER | {"nonzeros": 60, "macs_effective": 60.0, "weight_bytes": 246, "energy_uj": 0.5}],
}  # fmt: skip


def record(before: Any = BEFORE, after: Any = AFTER, **final: Any) -> Record:
    cost = {"before": copy.deepcopy(before), "after": copy.deepcopy(after)}
    return Record(
        folder=Path("run"),
        source="net",
        recipe={},
        seed=0,
        machine="",
        parameters=492,
        original_bytes=1968,
        final={"file_bytes": 300, "cost": cost, **final},
    )


def test_totals_say_both_and_how_many_times_less():
    said = {name: rest for name, *rest in costs.total_rows(BEFORE, AFTER)}
    assert said["Weights that are not zero"] == ["480", "60", "8.0×"]
    assert said["Weights in memory while running"] == ["1,968 bytes", "246 bytes", "8.0×"]
    assert said["Smallest cache that holds them"] == ["none: read from DRAM", "L1", ""]
    assert said["Energy"] == ["400 µJ", "0.5 µJ", "800.0×"]
    assert said["Power at 20 answers a second"] == ["8 mW", "10 µW", "800.0×"]
    assert said["Time in PyTorch"] == ["1.5 ms", "1.5 ms", "1.0×"]
    assert said["Time in tersenet's runtime"] == ["not measured", "0.25 ms", ""]
    assert said["Frames a second in tersenet's runtime"] == ["not measured", "4,000", ""]


def test_layers_that_one_network_lacks_have_dashes_there():
    after = AFTER | {"layers": [*AFTER["layers"], LAYER | {"name": "thin"}]}
    html = costs.draw(record(after=after))
    assert html.count("<tfoot>") == 1 and "12.50 %" in html
    row = html[html.index('<th scope="row">thin') :]
    assert row[: row.index("</tr>")].count("–") == 6


def test_unknown_caches_read_unknown():
    unknown = {"fits": None, "caches": {"l1_bytes": None, "l2_bytes": None, "l3_bytes": None}}
    html = costs.draw(record(BEFORE | unknown, AFTER | unknown))
    assert html.count("unknown: DRAM assumed") == 2 and "Caches of this machine: unknown." in html


def test_why_our_runtime_does_not_run_a_file_is_said_and_escaped():
    html = costs.draw(record(after=AFTER | {"runs_in": "torch", "refused": "no kernel for <sort>"}))
    assert "no kernel for &lt;sort&gt;" in html and "<sort>" not in html


@pytest.mark.parametrize(("final", "said"), [({}, "before costs were recorded"), ({"file_bytes": None}, "not written")])
def test_a_run_without_costs_says_why(final: dict[str, Any], said: str):
    found = record(**final, cost=None)
    assert said in costs.draw(found)


def test_tiles_show_the_file_in_our_runtime_where_it_was_timed():
    operations, latency = tiles(record())[2:]
    assert (operations.before, operations.after) == ("480", "60")
    assert (latency.before, latency.after, latency.gain) == ("1.5", "0.25 ms", "6.0× faster")
    assert "the file in tersenet's runtime" in latency.detail
    slow = AFTER | {"latency": BEFORE["latency"]}
    latency = tiles(record(after=slow))[3]
    assert latency.gain == "no clear change" and "in PyTorch, where a file runs as dense as it was" in latency.detail
