"""The page of the format says what the code does, as far as a machine can compare them."""

from __future__ import annotations

import re
from pathlib import Path

from tersenet.coding.table import CODES
from tersenet.container import file, sections
from tersenet.ir.graph import DTYPES
from tersenet.ir.serial import SUFFIXES
from tersenet.storage import memory, serial

SPEC = Path(__file__).parents[2] / "spec"
PAGE = (SPEC / "format.md").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) >= 5
    assert [link for link in links if not (SPEC / link).exists()] == []


def test_nodes_and_coders_have_the_codes_of_the_page():
    rows = dict(re.findall(r"^\| (\d) \| (\w+) \| .* \| ", PAGE.split("## 4")[1].split("## 5")[0], re.MULTILINE))
    names = ("INTEGERS", "FLOATS", "AFFINE", "TABLE", "SCATTER", "SUM", "CONCAT", "RESHAPE", "PERMUTE", "TRANSFORM")
    assert rows == {str(getattr(serial, name)): name.lower() for name in names}
    coders = dict(re.findall(r"^\| (\d) \| (\w+) \| ", PAGE.split("## 5")[1].split("## 6")[0], re.MULTILINE))
    assert coders == {str(code): name for name, code in CODES.items()}


def test_dtypes_and_endings_have_the_codes_of_the_page():
    assert ", ".join(f"{code} {name}" for code, name in enumerate(DTYPES)) in PAGE
    assert ", ".join(f"{code} `{name}`" for code, name in enumerate(SUFFIXES) if name) in PAGE


def test_limits_are_those_of_the_page():
    words = " ".join(PAGE.split())
    assert f"{file.INTERMEDIATE} D + 1 MiB" in words and sections.SMALL_BYTES == 1 << 20
    assert f"within {memory.WORK_PER_BYTE} (D + 1 MiB)" in words
    assert f"{sections.GRAPH_COST} bytes for each byte of a graph" in words and memory.NODE_BYTES == 1024
    assert f"nested at most {serial.MAX_DEPTH} deep" in words
    assert f"| sections | {sections.MAX_SECTIONS} |" in words
    assert file.default_limit(10**6) == 10**9


def test_the_page_is_two_screens_long():
    assert len(PAGE.splitlines()) < 200
