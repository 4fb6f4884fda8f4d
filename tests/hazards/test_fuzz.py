"""The C++ decoder under AddressSanitizer and UBSan: no mutant reads or writes out of bounds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tersenet.container import decode
from tersenet.storage import Floats, Integers, Table, write
from tersenet.bits import IntStream

ROOT = Path(__file__).parents[2]
ITERATIONS = int(os.environ.get("TERSENET_FUZZ", 15_000))  # a few seconds; set the variable for a long night
FLAGS = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
AVX2 = ["-mavx2", "-mbmi", "-mbmi2", "-mfma", "-DTERSENET_AVX2"]


@pytest.fixture(scope="module")
def corpus(files, tmp_path_factory) -> list[Path]:
    """Every tree of the example files, and two that are long enough for many lanes, by every coder."""
    folder = tmp_path_factory.mktemp("corpus")
    paths = []
    for name, data in files.items():
        for tensor, tree in decode(data).model.tensors.items():
            paths.append(folder / f"{name} {tensor}")
            paths[-1].write_bytes(write(tree, name)[0])
    values = np.random.default_rng(0).binomial(31, 0.3, 2000)
    for coder in ("raw", "huffman", "rans"):
        index = Integers(IntStream(name="x", values=values, alphabet=32))
        paths.append(folder / coder)
        paths[-1].write_bytes(write(Table(Floats(np.ones(32, np.float32)), index), coder)[0])
    return paths


def build(folder: Path, extra: list[str], sources: list[Path]) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")
    program = folder / "fuzz_storage"
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}")
    if subprocess.run([compiler, *FLAGS, *extra, probe, "-o", folder / "probe"], capture_output=True).returncode:
        pytest.skip("the compiler cannot build with these sanitizers and targets")
    command = [compiler, *FLAGS, *extra, "-I", ROOT / "cpp", Path(__file__).with_name("fuzz_storage.cpp"), *sources]
    subprocess.run([*command, "-o", program], check=True)
    return program


@pytest.mark.parametrize("column", ["scalar", "avx2"])
def test_no_mutant_makes_the_cpp_decoder_leave_its_bounds(column, corpus, tmp_path):
    sources = [ROOT / "cpp/targets/huffman_avx2.cpp"] if column == "avx2" else []
    program = build(tmp_path, AVX2 if column == "avx2" else [], sources)
    done = subprocess.run([program, str(ITERATIONS), "1", *corpus], capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    taken = int(done.stdout.split()[0])
    assert ITERATIONS // 100 < taken < ITERATIONS, "mutants that are all refused or all taken test nothing"
