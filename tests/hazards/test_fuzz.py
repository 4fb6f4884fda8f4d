"""The C++ decoder under AddressSanitizer and UBSan: no mutant reads or writes out of bounds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tersenet.bits import IntStream
from tersenet.container import decode
from tersenet.storage import Floats, Integers, Table, write

ROOT = Path(__file__).parents[2]
ITERATIONS = int(os.environ.get("TERSENET_FUZZ", 100_000))  # a few seconds; more for a long night
FLAGS = ["-std=c++17", "-O0", "-g", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
AVX2 = ["-mavx2", "-mbmi", "-mbmi2", "-mfma", "-DTERSENET_AVX2"]
COLUMN_MISSING = 77


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
    for coder in ("raw", "huffman", "rans", "range"):
        index = Integers(IntStream(name="x", values=values, alphabet=32))
        paths.append(folder / coder)
        paths[-1].write_bytes(write(Table(Floats(np.ones(32, np.float32)), index), coder)[0])
    return paths


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed")

    def run(*arguments) -> bool:
        return subprocess.run([compiler, *FLAGS, *arguments], capture_output=True).returncode == 0

    probe = folder / "probe.cpp"
    probe.write_text("int main() {}")
    if not run(probe, "-o", folder / "probe"):
        pytest.skip("the compiler has no sanitizers")
    columns = []
    if run(*AVX2, "-I", ROOT / "cpp", "-c", ROOT / "cpp/targets/huffman_avx2.cpp", "-o", folder / "avx2.o"):
        columns = ["-DTERSENET_AVX2", folder / "avx2.o"]
    source = Path(__file__).with_name("fuzz_storage.cpp")
    subprocess.run([compiler, *FLAGS, "-I", ROOT / "cpp", source, *columns, "-o", folder / "fuzz"], check=True)
    return folder / "fuzz"


@pytest.mark.parametrize("column", ["scalar", "avx2"])
def test_no_mutant_makes_the_cpp_decoder_leave_its_bounds(column, corpus, program):
    command = [program, column, str(ITERATIONS), "1", *corpus]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    if done.returncode == COLUMN_MISSING:
        pytest.skip(f"this processor or compiler has no column {column}")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    taken = int(done.stdout.split()[0])
    assert ITERATIONS // 100 < taken < ITERATIONS, "mutants that are all refused or all taken test nothing"
