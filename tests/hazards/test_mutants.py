"""Beyond the checksums: sealed mutants give contents or a refusal, never another exception, and touch nothing."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersenet.container import Contents, decode, decode_dense
from tersenet.container.sections import GRAPH, PAYLOAD, PROVENANCE, WEIGHTS, split
from tersenet.errors import TersenetError
from tersenet.storage import decode as decode_storage

MUTANTS = 1500  # of each file and section
LIMIT = 1 << 22

FORBIDDEN = ("open", "exec", "compile", "import", "subprocess.", "os.", "socket.", "pickle.", "ctypes.", "shutil.")
_seen: list[str] = []
_watching = False


def _hook(event: str, _arguments) -> None:
    if _watching and (event in FORBIDDEN or event.startswith(tuple(one for one in FORBIDDEN if one.endswith(".")))):
        _seen.append(event)


@pytest.fixture(scope="module")
def audited():
    """Audit hooks cannot be removed, so that one is set once and listens while a test wants it to."""
    sys.addaudithook(_hook)


def mutated(section: bytes, rng: random.Random) -> bytes:
    out = bytearray(section)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out) + 1)
        how = rng.randrange(6)
        if how == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(out):
            out[at] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif how == 2:
            out[at:at] = bytes([rng.randrange(256)])
        elif how == 3:
            del out[at : at + rng.randint(1, 4)]
        elif how == 4:
            out[at : at + 1] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"[: rng.randint(1, 9)]
        else:
            start = rng.randrange(len(out) + 1)
            out[at:at] = out[start : start + rng.randint(1, 16)]
    return bytes(out)


def outcome(read, data: bytes) -> str:
    try:
        read(data)
    except TersenetError as error:
        return str(error)
    return "taken"


def read_and_decode(data: bytes) -> None:
    contents = decode(data, max_bytes=LIMIT)
    assert isinstance(contents, Contents)
    assert sum(row.size_bytes for row in contents.ledger) == len(data)
    for tensor in contents.model.tensors.values():
        assert decode_storage(tensor).shape == tensor.shape


SECTIONS = {"graph": GRAPH, "weights": WEIGHTS, "provenance": PROVENANCE}
HELD = [(name, section) for name in ("raw", "huffman", "rans", "range") for section in SECTIONS]
HELD.remove(("raw", "provenance"))  # a file without provenance
SECTIONS["payload"] = PAYLOAD
HELD.append(("range", "payload"))


@pytest.mark.parametrize("name, section_name", HELD)
def test_sealed_mutants_are_taken_or_refused_by_both_readers(files, name, section_name, reseal):
    data, kind = files[name], SECTIONS[section_name]
    section = split(data, LIMIT).by_kind[kind]
    rng = random.Random(f"{name} {kind}")
    outcomes = {"taken": 0, "refused": 0}
    for _ in range(MUTANTS):
        mutant = reseal(data, kind, mutated(bytes(section), rng))
        numpy = outcome(read_and_decode, mutant)
        cpp = outcome(lambda data: decode_dense(data, max_bytes=LIMIT), mutant)
        if kind != PROVENANCE:  # which the fast reader does not look at
            assert (numpy == "taken") == (cpp == "taken"), (numpy, cpp)
        if numpy != "taken":
            assert "section " in numpy or kind == WEIGHTS, numpy
        outcomes["taken" if numpy == "taken" else "refused"] += 1
    assert outcomes["refused"] > MUTANTS // 20
    assert outcomes["taken"] or kind in (PROVENANCE, PAYLOAD)


def test_mutants_open_nothing_run_nothing_and_import_nothing(files, reseal, audited):
    global _watching
    for data in files.values():  # imports and caches first
        outcome(read_and_decode, data)
        outcome(decode_dense, data)
    outcome(read_and_decode, reseal(files["huffman"], PROVENANCE, b"x"))
    rng = random.Random(1)
    cases = []
    for data in files.values():
        for kind, section in split(data, LIMIT).by_kind.items():
            cases += [reseal(data, kind, mutated(bytes(section), rng)) for _ in range(500)]
    _seen.clear()
    _watching = True
    try:
        for case in cases:
            outcome(read_and_decode, case)
            outcome(decode_dense, case)
        assert _seen == []
        compile("1", "twin", "eval")  # the twin: the hook does hear
        assert _seen
    finally:
        _watching = False


@settings(max_examples=300, deadline=None)
@given(graph=st.binary(max_size=60), weights=st.binary(max_size=60), declared=st.integers(0, 64))
def test_sealed_noise_is_refused_or_taken(graph, weights, declared):
    seal = sys.modules[__name__].SEAL
    data = seal({GRAPH: graph, WEIGHTS: weights}, declared)
    assert (outcome(read_and_decode, data) == "taken") == (outcome(decode_dense, data) == "taken")


@pytest.fixture(autouse=True, scope="module")
def _seal(seal):
    globals()["SEAL"] = seal


def test_float_errors_do_not_become_warnings(files):
    with np.errstate(all="raise"):
        read_and_decode(files["raw"])
