"""The C API without Python: built by CMake alone, with sanitizers; its answers are ours, and no mutant leaves its bounds."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tersenet.runtime as runtime
from tersenet.container import decode, encode

ROOT = Path(__file__).parents[2]
FILES = ROOT / "papers/han2016_deep_compression/files"
ITERATIONS = int(os.environ.get("TERSENET_FUZZ", 600))
SANITIZERS = "-O1 -g0 -fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("cmake or a C++ compiler is not installed")
    folder = tmp_path_factory.mktemp("build")
    subprocess.run(
        ["cmake", "-S", ROOT / "cpp", "-B", folder, "-DCMAKE_BUILD_TYPE=None", f"-DCMAKE_CXX_FLAGS={SANITIZERS}"],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(["cmake", "--build", folder, "-j2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["lenet5_paper-0", "lenet_300_100_published-0"])
def test_the_example_answers_as_python_does(name, build, tmp_path):
    x = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    x.tofile(tmp_path / "x.bin")
    path = FILES / f"{name}.terse"
    subprocess.run([build / "run_model", path, tmp_path / "x.bin", tmp_path / "y.bin"], check=True, capture_output=True)
    y = np.fromfile(tmp_path / "y.bin", np.float32).reshape(5, 10)
    expected = runtime.open(path, threads=1)(x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.timeout(900)
def test_the_example_takes_eight_bit_integers(build, tmp_path):
    x = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    x.tofile(tmp_path / "x.bin")
    path = FILES / "lenet_300_100_best-0.terse"
    answers = {}
    for option in ((), ("--int8",)):
        command = [build / "run_model", *option, path, tmp_path / "x.bin", tmp_path / "y.bin"]
        subprocess.run(command, check=True, capture_output=True)
        answers[option] = np.fromfile(tmp_path / "y.bin", np.float32).reshape(5, 10)
    # Integers are exact: whichever kernel was fastest, the bits are Python's up to the order of float32's last steps.
    expected = runtime.open(path, threads=1, activations="int8")(x)
    np.testing.assert_allclose(answers[("--int8",)], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert answers[()].tobytes() != answers[("--int8",)].tobytes()


@pytest.mark.timeout(900)
def test_every_kernel_keeps_to_double_precision_and_its_bounds(build, tmp_path):
    flags = ["-std=c++17", *SANITIZERS.split(), "-I", ROOT / "cpp"]
    source = ROOT / "tests/kernels/every_kernel.cpp"
    subprocess.run(["c++", *flags, source, build / "libtersenet.a", "-pthread", "-o", tmp_path / "every"], check=True)
    done = subprocess.run([tmp_path / "every"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    names = set(done.stdout.split())
    assert {"xnor", "binary", "codes4", "levels8", "codes8", "gemm-codes8", "gemv", "gemv8", "conv8"} <= {
        name.split("/")[0] for name in names
    }
    if platform.machine() == "x86_64":
        assert {"gemv/avx2", "gemv8/avx2"} <= names  # columns, not the scalar loops alone


@pytest.mark.timeout(900)
def test_what_the_example_cannot_open_is_one_sentence(build, tmp_path):
    data = (FILES / "lenet5_paper-0.terse").read_bytes()
    (tmp_path / "cut.terse").write_bytes(data[:-1])
    (tmp_path / "x.bin").write_bytes(bytes(4 * 784))
    for path, why in ((tmp_path / "cut.terse", "is cut"), (tmp_path / "none.terse", "cannot be opened")):
        done = subprocess.run([build / "run_model", path, tmp_path / "x.bin"], capture_output=True, text=True)
        assert done.returncode == 1 and why in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.timeout(1800)
def test_no_mutant_makes_the_runtime_leave_its_bounds(build, tmp_path):
    program = tmp_path / "fuzz"
    source = Path(__file__).with_name("fuzz_session.cpp")
    flags = ["-std=c++17", *SANITIZERS.split(), "-I", ROOT / "cpp"]
    subprocess.run(["c++", *flags, source, build / "libtersenet.a", "-pthread", "-o", program], check=True)
    files = [FILES / f"{name}.terse" for name in ("lenet5_published-0", "lenet_300_100_published-0")]
    packed = tmp_path / "packed.terse"
    packed.write_bytes(encode(decode(files[1].read_bytes()).model, "range"))
    files.append(packed)
    done = subprocess.run([program, str(ITERATIONS), "1", *files], capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    ran = int(done.stdout)
    assert 0 < ran < ITERATIONS, "mutants that are all refused or all run test nothing"


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    """Runs a program of this tree, cross-compiled, under qemu's user emulation: Debian's g++-aarch64-linux-gnu and qemu-user."""
    if shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64") is None:
        pytest.skip("g++-aarch64-linux-gnu or qemu-user is not installed")
    folder = tmp_path_factory.mktemp("arm")
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    compiler = ["-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1"]
    subprocess.run(["cmake", "-S", ROOT / "cpp", "-B", folder, *target, *compiler], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder, "-j2"], check=True, capture_output=True)
    source, library = ROOT / "tests/kernels/every_kernel.cpp", folder / "libtersenet.a"
    flags = ["-std=c++17", "-O1", "-I", ROOT / "cpp"]
    subprocess.run(["aarch64-linux-gnu-g++", *flags, source, library, "-pthread", "-o", folder / "every"], check=True)

    def run(program: str, *arguments, cpu: str = "max", column: str = "") -> str:
        command = ["qemu-aarch64", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", folder / program, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"TERSENET_CPU": column, "TERSENET_CACHE": ""}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["lenet5_paper-0", "lenet_300_100_published-0"])
def test_the_example_runs_on_64_bit_arm(name, arm, tmp_path):
    x = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    x.tofile(tmp_path / "x.bin")
    path = FILES / f"{name}.terse"
    arm("run_model", path, tmp_path / "x.bin", tmp_path / "y.bin")
    expected = runtime.open(path, threads=1)(x)
    y = np.fromfile(tmp_path / "y.bin", np.float32).reshape(5, 10)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_kernel_keeps_its_law_on_64_bit_arm(arm):
    """Cortex-A72 has no dot product: its best column is NEON."""
    names = {cpu: set(arm("every", cpu=cpu).split()) for cpu in ("max", "cortex-a72")}
    assert {"xnor/neon", "binary/neon", "codes4/neon", "gemm-codes8/neon", "gemv8/neon", "conv8/neon"} <= names[
        "cortex-a72"
    ]
    assert names["max"] - names["cortex-a72"] == {"gemv8/dotprod", "gemm8/dotprod", "conv8/dotprod"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "allowed"), [("lenet_300_100_best-0", 0), ("lenet5_paper-0", 1e-2), ("resnet20-0", 1e-5)]
)
def test_eight_bit_integers_on_64_bit_arm_are_those_of_the_scalar_column(name, allowed, arm, tmp_path):
    """To the last bit, but for float32's: epilogues of convolutions, and LeNet-5's first, of one channel, whose sums may move a byte."""
    shape = (2, 3, 32, 32) if name.startswith("resnet") else (5, 1, 28, 28)
    np.random.default_rng(0).standard_normal(shape, np.float32).tofile(tmp_path / "x.bin")
    y = {}
    for column in ("scalar", "neon", "dotprod"):
        arm("run_model", "--int8", FILES / f"{name}.terse", tmp_path / "x.bin", tmp_path / "y.bin", column=column)
        y[column] = np.fromfile(tmp_path / "y.bin", np.float32)
    for column in ("neon", "dotprod"):
        assert np.abs(y[column] - y["scalar"]).max() <= allowed * np.abs(y["scalar"]).max()
