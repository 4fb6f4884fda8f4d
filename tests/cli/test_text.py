"""Tables are aligned and never cut; a number that was not measured says so."""

from __future__ import annotations

import pytest

from tersenet.cli.text import percent, table


def test_columns_are_aligned_and_never_cut():
    assert table([["a", "1"], ["long name", "1,000"]], ["name", "bytes"], "lr").splitlines() == [
        "name       bytes",
        "a              1",
        "long name  1,000",
    ]


def test_a_table_without_rows_is_its_head():
    assert table([], ["name", "bytes"]) == "name  bytes"


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        (None, "not measured"),
        ({"accuracy": 0.97715, "loss": 1.0}, "97.72 %"),
        ({"accuracy": 0.0, "loss": 1.0}, "0.00 %"),
        ({"metric": 0.0, "accuracy": None}, "0"),
        ({"metric": 31.25}, "31.25"),
        ({"accuracy": None, "loss": 0.12345}, "loss 0.1235"),
        ({"accuracy": None, "loss": None}, "not measured"),
    ],
)
def test_a_score_is_shown_by_what_it_has(score, shown):
    assert percent(score) == shown
