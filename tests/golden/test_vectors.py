"""Golden files: three decoders agree with what was expected when they were made, for ever."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tersenet.bits import ByteReader
from tersenet.container import decode, decode_dense
from tersenet.container.dense import ARRAY_DTYPES
from tersenet.container.sections import GRAPH, PAYLOAD, WEIGHTS, split
from tersenet.errors import TersenetError
from tersenet.ir import read as read_graph
from tersenet.storage import Storage, walk
from tersenet.storage import decode as decode_storage
from tersenet.storage.fast import decode_bytes, decode_weights

SPEC = Path(__file__).parents[2] / "spec"
LIMIT = 1 << 26
EXPECTED = json.loads((SPEC / "vectors" / "expected.json").read_text(encoding="utf-8"))
GOOD = [path for path, want in EXPECTED.items() if "tensors" in want]
FAULTY = [path for path, want in EXPECTED.items() if "section" in want]


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"spec_{name}", SPEC / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE, MAKER = load("decoder"), load("make_vectors")


def data_of(path: str) -> bytes:
    return (SPEC / "vectors" / path).read_bytes()


def by_numpy(data: bytes) -> dict[str, np.ndarray]:
    tensors = decode(data, max_bytes=LIMIT).model.tensors
    return {name: np.asarray(decode_storage(tree)) for name, tree in tensors.items()}


def by_cpp(data: bytes) -> dict[str, np.ndarray]:
    sections = split(data, LIMIT).by_kind
    names = list(read_graph(sections[GRAPH]).parameters)
    if PAYLOAD in sections:
        decoded_bytes = sum(4 * array.size for array in by_numpy(data).values())
        limits = {"decoded_bytes": decoded_bytes, "max_bytes": LIMIT, "meant_bytes": LIMIT}
        return dict(zip(names, decode_weights(sections[WEIGHTS], names, payload=sections[PAYLOAD], **limits)))
    reader = ByteReader(sections[WEIGHTS])
    return {name: decode_bytes(reader.bytes(reader.varint()), LIMIT) for name in names}


def by_oracle(data: bytes) -> dict[str, np.ndarray]:
    return ORACLE.decode(data, LIMIT)[1]


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("read", [by_numpy, by_cpp, by_oracle], ids=["numpy", "cpp", "spec"])
def test_every_decoder_gives_the_expected_bits(read, path):
    got = {name: MAKER.digest(array) for name, array in read(data_of(path)).items()}
    assert got == EXPECTED[path]["tensors"]


@pytest.mark.parametrize("path", GOOD)
def test_the_fast_reader_of_whole_files_gives_the_same_numbers_in_the_declared_dtypes(path):
    data = data_of(path)
    dtypes = decode(data, max_bytes=LIMIT).model.graph.parameters
    dense = decode_dense(data, max_bytes=LIMIT)
    assert list(dense) == list(dtypes)
    for name, stored in by_numpy(data).items():
        with np.errstate(all="ignore"):
            want = stored.astype(ARRAY_DTYPES.get(dtypes[name], dtypes[name]))
        assert (dense[name].dtype, dense[name].shape) == (want.dtype, want.shape)
        assert dense[name].tobytes() == want.tobytes()


@pytest.mark.parametrize("path", FAULTY)
def test_every_decoder_refuses_a_faulty_file_and_names_its_section(path):
    data, section, phrase = data_of(path), EXPECTED[path]["section"], EXPECTED[path]["phrase"]
    with pytest.raises(TersenetError) as refused:
        by_numpy(data)
    assert phrase in str(refused.value)
    with pytest.raises(ORACLE.Refused, match=f"section .*{section}"):
        by_oracle(data)
    if section != "provenance" or "it " not in phrase:  # the fast reader compares its checksum, no more
        with pytest.raises(TersenetError, match=f"section {section}"):
            decode_dense(data, max_bytes=LIMIT)


def test_the_maker_makes_the_committed_files_again():
    files, expected = MAKER.vectors()
    assert expected == {path: EXPECTED[path] for path in expected}
    for path, data in files.items():
        assert data_of(path) == data, path


def test_every_committed_file_is_expected_and_every_expected_one_is_committed():
    there = {path.relative_to(SPEC / "vectors").as_posix() for path in (SPEC / "vectors").rglob("*.terse")}
    assert there == set(EXPECTED)
    assert all(any(path.startswith(group) for path in there) for group in ("normal/", "uncommon/", "faulty/"))


def test_every_node_and_every_coder_has_a_file():
    kinds, coders = set(), set()
    for path in GOOD:
        contents = decode(data_of(path), max_bytes=LIMIT)
        for tree in contents.model.tensors.values():
            kinds |= {type(node) for node in walk(tree)}
        coders |= {row.coder for row in contents.ledger}
    assert kinds == set(Storage.__subclasses__())
    assert {"raw", "huffman", "rans", "range"} <= coders


@pytest.mark.parametrize("path", ["normal/v1_network.terse", "normal/v1_network_with_provenance.terse"])
def test_the_network_reads_the_same_from_the_spec(path, capsys):
    graph, _, provenance = ORACLE.decode(data_of(path))
    model = decode(data_of(path)).model
    assert [op for op, _ in graph["nodes"]] == [node.op for node in model.graph.nodes]
    assert graph["preprocess"] == vars(model.graph.preprocess) and provenance == model.provenance
    ORACLE.main(SPEC / "vectors" / path)
    printed = capsys.readouterr().out
    assert "op     conv2d" in printed and "tensor fc.0.weight: float32 (10, 64)" in printed
