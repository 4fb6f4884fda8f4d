"""The keys of `inspect --json`, which scripts rely on; inspect and unpack need no torch."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from tersenet import load

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from tersenet.cli import main; main(sys.argv[1:])"


def test_the_ledger_adds_up_to_the_file(tersenet, shelf):
    record = tersenet("inspect", shelf.terse, "--json").record
    assert record["bytes"] == shelf.terse.stat().st_size == sum(row["bytes"] for row in record["ledger"])
    for row in record["ledger"]:
        assert {"name", "form", "coder", "bytes"} <= set(row) and row["bytes"] > 0
    assert {"fc.weight", "fc.bias"} <= {row["name"] for row in record["ledger"]}


def test_each_coder_is_counted_on_the_same_storage_and_the_own_one_as_in_the_file(tersenet, shelf):
    record = tersenet("inspect", shelf.terse, "--coders", "--json").record
    for name, sizes in record["coders"].items():
        own = sum(row["bytes"] for row in record["ledger"] if row["name"] == name)
        # The ledger counts the length that stands before each tensor too.
        assert 0 < own - sizes["huffman"] <= 5
        assert all(size <= sizes["raw"] for size in sizes.values())
    assert set(record["coders"]) == {"fc.weight", "fc.bias"}
    shown = tersenet("inspect", shelf.terse, "--coders").out
    assert f"{sum(one['range'] for one in record['coders'].values()):,}" in shown
    assert "coders" not in tersenet("inspect", shelf.terse, "--json").record


def test_sections_have_the_checksums_of_their_bytes(tersenet, shelf):
    data = shelf.terse.read_bytes()
    sections = tersenet("inspect", shelf.terse, "--json").record["sections"]
    assert len(sections) >= 3
    for one in sections:
        starts = range(len(data) - one["bytes"] + 1)
        assert any(f"{zlib.crc32(data[at : at + one['bytes']]):08x}" == one["crc32"] for at in starts), one


def test_op_list_and_recipe_are_shown(tersenet, shelf):
    record = tersenet("inspect", shelf.terse, "--json").record
    assert [node["op"] for node in record["graph"]["nodes"]][-1] == "linear"
    assert record["graph"]["nodes"][-1]["arguments"]["weight"] == {"tensor": "fc.weight"}
    assert record["provenance"]["recipe"]["name"] == "tiny" and record["provenance"]["seed"] == 0
    shown = tersenet("inspect", shelf.terse).out
    assert "= linear(" in shown and '"tiny"' in shown and f"{record['bytes']:,}" in shown


@pytest.mark.parametrize("words", [["inspect", "{file}", "--json"], ["unpack", "{file}", "-o", "{out}", "--json"]])
def test_neither_inspect_nor_unpack_needs_torch(tersenet, in_python, shelf, tmp_path, words):
    words = [word.format(file=shelf.terse, out=tmp_path / "w.safetensors") for word in words]
    ended = in_python(WITHOUT_TORCH, *words)
    assert ended.code == 0 and ended.err == ""
    assert json.loads(ended.out) == tersenet(*words).record


def test_unpacked_weights_are_those_of_the_file(tersenet, shelf, tmp_path):
    output = tmp_path / "w.safetensors"
    record = tersenet("unpack", shelf.terse, "-o", output, "--json").record
    network, tensors = load(shelf.terse), load_file(output)
    assert record["tensors"] == len(tensors) == len(network.graph.parameters)
    assert record["bytes"] == output.stat().st_size
    for name, tensor in tensors.items():
        assert network.dense(name).detach().numpy().tobytes() == tensor.tobytes(), name


def test_what_a_lossless_file_unpacks_to_is_what_went_in(tersenet, shelf, tmp_path):
    file, output = tmp_path / "x.terse", tmp_path / "w.safetensors"
    words = ["compress", "linear", "--weights", shelf.weights, "--recipe", "dense", "-o", file]
    assert tersenet(*words).code == 0
    assert tersenet("unpack", file, "-o", output).code == 0
    before, after = load_file(shelf.weights), load_file(output)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    again = tersenet("evaluate", "linear", "--weights", output, "--data", "digits28", "--json").record
    assert again["accuracy"] == tersenet("evaluate", file, "--data", "digits28", "--json").record["accuracy"]
