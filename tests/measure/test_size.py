"""The ledger's rows add up to the file's length, to the byte."""

import json
import subprocess
import sys

import pytest

from tersenet.container import write
from tersenet.errors import TersenetError
from tersenet.measure.size import Ledger, LedgerRow, size


@pytest.mark.parametrize("coder", ["raw", "huffman", "rans"])
def test_rows_add_up_to_the_files_length(model, tmp_path, coder):
    path = tmp_path / "a.terse"
    write(path, model, coder)
    ledger = size(path)
    assert sum(row.bytes for row in ledger) == ledger.bytes == path.stat().st_size
    assert {row.name for row in ledger} == {"header", "graph", "provenance", *model.tensors}
    assert {row.role for row in ledger if row.name == "fc1.weight"} == {"gaps", "table", "index", "structure"}
    assert all(row.form == "sparse(codebook)" for row in ledger if row.name == "fc1.weight")


def test_json_has_keys_that_stay(model, tmp_path):
    write(tmp_path / "a.terse", model)
    got = json.loads(json.dumps(size(tmp_path / "a.terse").to_dict()))
    assert list(got) == ["bytes", "ledger"]
    assert all({"name", "form", "coder", "bytes"} <= set(row) for row in got["ledger"])
    assert sum(row["bytes"] for row in got["ledger"]) == got["bytes"]


def test_a_ledger_that_does_not_add_up_is_refused():
    row = LedgerRow(name="header", role="", form="", coder="", bytes=3)
    with pytest.raises(TersenetError, match="add up to 3 bytes, the file has 4"):
        Ledger(rows=(row,), bytes=4)


def test_what_is_no_file_gets_a_sentence(tmp_path):
    with pytest.raises(TersenetError, match="missing: cannot be read"):
        size(tmp_path / "missing")


def test_sizes_and_tables_are_read_without_torch():
    code = (
        "import sys; from tersenet.measure.size import size; "
        "from tersenet.measure.compression_table import compression_table; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
