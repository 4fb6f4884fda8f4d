"""A session from a user's side: zoo networks against torch, any batch, bad input, plan, cache, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import tersenet
import tersenet.runtime as runtime
from tersenet import artifact
from tersenet.errors import TersenetError
from tersenet.graph import capture
from tersenet.runtime import cache
from tersenet.zoo import NETWORKS, example_inputs, network

LARGE = {"vgg16", "alexnet", "resnet110", "resnet44"}
FILES = Path(__file__).parents[2] / "papers/han2016_deep_compression/files"
SPEC = Path(__file__).parents[2] / "spec/vectors"


def saved(name: str, folder: Path) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...], Path]:
    torch.manual_seed(0)
    model = network(name).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    example = example_inputs(name)
    example = example if isinstance(example, tuple) else (example,)
    path = folder / f"{name}.terse"
    artifact.save(capture(model, example), path, coder="raw")
    return model, example, path


def agree(ours, theirs) -> None:
    ours = ours if isinstance(ours, tuple) else (ours,)
    theirs = theirs if isinstance(theirs, (tuple, list)) else (theirs,)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        other = other.detach().numpy()
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - LARGE))
def test_each_network_of_the_zoo_answers_as_torch_does(name, tmp_path):
    model, example, path = saved(name, tmp_path)
    session = runtime.open(path, threads=1)
    for batch in (1, 3):
        given = [
            torch.cat([one[:1]] * batch)
            + (0 if one.dtype == torch.int64 else torch.linspace(0, 1, batch).reshape(-1, *[1] * (one.ndim - 1)))
            for one in example
        ]
        with torch.no_grad():
            agree(session(*[one.numpy() for one in given]), model(*given))


@pytest.mark.parametrize("path", sorted(FILES.glob("*.terse")), ids=lambda path: path.stem)
def test_each_compressed_file_answers_as_torch_does(path, tmp_path):
    session = runtime.open(path, threads=2)
    model = tersenet.load(path).eval()
    x = np.random.default_rng(0).standard_normal((5, *session.inputs[0].shape[1:])).astype(np.float32)
    with torch.no_grad():
        agree(session(x), model(torch.from_numpy(x)))


@pytest.fixture(scope="module")
def lenet() -> Path:
    return FILES / "lenet5_paper-0.terse"


@pytest.mark.parametrize("column", ["scalar", "avx2", "avx512", "avx512vnni"])
def test_each_column_of_kernels_gives_the_same_answers(column, lenet, monkeypatch):
    x = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    plain = runtime.open(lenet)(x)
    monkeypatch.setenv("TERSENET_CPU", column)
    try:
        session = runtime.open(lenet)
    except TersenetError as error:
        pytest.skip(str(error))
    np.testing.assert_allclose(session(x), plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_any_batch_runs_and_each_example_stands_for_itself(lenet):
    session = runtime.open(lenet)
    x = np.random.default_rng(0).random((65, 1, 28, 28), np.float32)
    alone = np.concatenate([session(one[None]) for one in x])
    for batch in (0, 1, 2, 63, 64, 65):
        y = session(x[:batch])
        assert y.shape == (batch, 10)
        np.testing.assert_allclose(y, alone[:batch], rtol=1e-5, atol=1e-5)


def test_arrays_need_not_be_contiguous(lenet):
    session = runtime.open(lenet)
    x = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert session(np.asfortranarray(x)[::2]).tobytes() == session(x[::2].copy()).tobytes()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([np.zeros((2, 1, 28, 27), np.float32)], r"\(2, 1, 28, 27\); expected \(batch, 1, 28, 28\)"),
        ([np.zeros((1, 28, 28), np.float32)], "expected"),
        ([np.zeros((2, 1, 28, 28))], "must be float32"),
        ([np.zeros((2, 1, 28, 28), np.int64)], "must be float32"),
        ([np.array(["a"])], "dtype"),
        ([], "0 arrays came"),
        ([np.zeros((2, 1, 28, 28), np.float32)] * 2, "2 arrays came"),
    ],
)
def test_what_the_network_does_not_take_is_refused(given, why, lenet):
    with pytest.raises(TersenetError, match=why):
        runtime.open(lenet)(*given)


def test_nan_passes_through(lenet):
    x = np.full((1, 1, 28, 28), np.nan, np.float32)
    assert np.isnan(runtime.open(lenet)(x)).all()


def test_a_damaged_cut_or_missing_file_is_refused(lenet, tmp_path):
    data = lenet.read_bytes()
    for number, wrong in enumerate((b"", data[:100], data[:-1], data + b"x", data[:500] + b"\0" + data[501:])):
        path = tmp_path / f"{number}.terse"
        path.write_bytes(wrong)
        with pytest.raises(TersenetError, match=f"{number}.terse: .*section"):
            runtime.open(path)
    with pytest.raises(TersenetError, match="cannot be read"):
        runtime.open(tmp_path / "none.terse")


@pytest.mark.parametrize("wrong", [{"threads": -1}, {"batch": 0}])
def test_wrong_options_are_refused(wrong, lenet):
    with pytest.raises(TersenetError):
        runtime.open(lenet, **wrong)


def test_memory_is_bounded(lenet):
    with pytest.raises(TersenetError, match="above the limit"):
        runtime.open(lenet, max_bytes=1000)
    session = runtime.open(lenet, max_bytes=4 << 20)
    session(np.zeros((1, 1, 28, 28), np.float32))
    with pytest.raises(TersenetError, match="smaller batch"):
        session(np.zeros((4096, 1, 28, 28), np.float32))
    session(np.zeros((1, 1, 28, 28), np.float32))


def test_two_sessions_in_two_threads_do_not_disturb_each_other(lenet):
    x = np.random.default_rng(0).random((16, 1, 28, 28), np.float32)
    expected = runtime.open(lenet, threads=1)(x)
    wrong = []

    def work() -> None:
        session = runtime.open(lenet, threads=2)
        for _ in range(30):
            if not np.allclose(session(x), expected, atol=1e-5):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_runs_that_try_threads_and_one_alone_answer_alike(lenet):
    one, two = runtime.open(lenet, threads=1), runtime.open(lenet, threads=2)
    for batch in (1, 3, 1):  # each begins a trial of its own
        x = np.random.default_rng(batch).random((batch, 1, 28, 28), np.float32)
        answers = [two(x) for _ in range(20)]
        assert len({answer.tobytes() for answer in answers}) == 1
        np.testing.assert_allclose(answers[0], one(x), atol=1e-5)  # perhaps other kernels were fastest
    assert two.threads == 2


def test_one_session_may_be_shared_by_threads(lenet):
    session = runtime.open(lenet)
    inputs = [np.random.default_rng(n).random((n + 1, 1, 28, 28), np.float32) for n in range(4)]
    expected = [session(x) for x in inputs]
    wrong = []

    def work(number: int) -> None:
        for _ in range(30):
            if not np.allclose(session(inputs[number]), expected[number], atol=1e-5):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_plan_names_each_operation_its_kernel_and_its_bytes(lenet):
    session = runtime.open(lenet)
    rows = session.plan()
    assert [row.operation for row in rows if row.weight] == ["conv2d", "conv2d", "linear + relu", "linear"]
    for row in rows:
        assert row.measured_us > 0
        if row.weight:
            assert row.kernel in {tried.kernel for tried in row.tried} and row.expected_us > 0
    assert 0 < sum(row.size_bytes for row in rows) <= session.weight_bytes < 1 << 20


def test_sparse_weights_stay_sparse_in_memory(lenet):
    assert runtime.open(lenet).weight_bytes * 4 < 431_080 * 4


def test_the_file_is_described(lenet):
    session = runtime.open(lenet)
    assert session.inputs[0].shape == (None, 1, 28, 28) and session.inputs[0].dtype == "float32"
    assert [one.shape for one in session.outputs] == [(None, 10)]


def test_kernels_are_chosen_once_and_kept(lenet, tmp_path, monkeypatch):
    monkeypatch.setenv("TERSENET_CACHE", str(tmp_path / "kernels"))
    x = np.ones((1, 1, 28, 28), np.float32)
    first = runtime.open(lenet)
    kept = list((tmp_path / "kernels").glob("*.json"))
    assert len(kept) == 1 and json.loads(kept[0].read_text()) == dict(first._core.kernels())
    second = runtime.open(lenet)
    assert all(tried.time_us == 0 for row in second.plan() for tried in row.tried)
    assert first(x).tobytes() == second(x).tobytes()
    kept[0].write_text('{"ip1.weight": "no such kernel"}')
    again = runtime.open(lenet)  # chooses anew: perhaps otherwise, where the machine is busy
    np.testing.assert_allclose(again(x), first(x), rtol=1e-5, atol=1e-5 * np.abs(first(x)).max())
    kept[0].write_text("[")
    runtime.open(lenet)


def test_a_cache_that_cannot_be_written_is_no_obstacle(lenet, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TERSENET_CACHE", str(tmp_path / "file" / "folder"))
    runtime.open(lenet)
    assert cache.load("0" * 32) == {}


def test_torch_is_not_needed(lenet):
    code = (
        "import sys, numpy as np; sys.modules['torch'] = None; import tersenet.runtime as rt;"
        f"print(rt.open({str(lenet)!r})(np.zeros((2, 1, 28, 28), np.float32)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "(2, 10)", done.stderr


def test_a_packed_file_answers_as_a_plain_one_and_is_refused_when_damaged(lenet, tmp_path):
    from tersenet.container import decode, encode

    packed, x = tmp_path / "packed.terse", np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    data = encode(decode(lenet.read_bytes()).model, "range")
    assert data[6] == 2 and lenet.read_bytes()[6] == 1
    packed.write_bytes(data)
    agree(runtime.open(packed, threads=1)(x), torch.from_numpy(runtime.open(lenet, threads=1)(x)))
    packed.write_bytes(data[:-1])
    with pytest.raises(TersenetError, match=r"packed.terse: section header is cut or damaged"):
        runtime.open(packed)


@pytest.mark.parametrize("path", sorted((SPEC / "faulty").glob("v2_*.terse")), ids=lambda path: path.stem)
def test_a_faulty_packed_file_is_refused_with_its_section(path):
    section = json.loads((SPEC / "expected.json").read_text(encoding="utf-8"))[f"faulty/{path.name}"]["section"]
    with pytest.raises(TersenetError, match=f"section {section}"):
        runtime.open(path)


def test_what_the_runtime_lacks_is_named(tmp_path, monkeypatch):
    """Every operation of this version has a kernel, so a weight that is computed stands in for what is missing."""
    from tersenet.container import Model, write
    from tersenet.ir import Graph, Input, Parameter, Value, make_node
    from tersenet.storage import Floats, Reshape

    graph = Graph(
        (Input("x", "float32", (3,)),),
        (make_node("neg", self=Parameter("w")), make_node("linear", input=Value(0), weight=Value(1))),
        (Value(2),),
        ("y",),
        {"w": "float32"},
    )
    weight = Reshape(Floats(np.ones(6, np.float32)), (2, 3))
    write(tmp_path / "x.terse", Model(graph=graph, tensors={"w": weight}))
    with pytest.raises(TersenetError, match="computed, not stored"):
        runtime.open(tmp_path / "x.terse")


@pytest.mark.parametrize("name", ["resnet20", "resnet8", "vww_mobilenet", "mobilenet_v1_025_128"])
def test_a_file_opens_for_pictures_of_another_size_where_its_network_takes_them(name, tmp_path):
    model, (x,), path = saved(name, tmp_path)
    shape = (3, x.shape[2] + 16, x.shape[3] - 16)
    session = runtime.open(path, threads=1, shapes=[shape])
    assert session.inputs[0].shape == (None, *shape)
    wider = torch.randn(2, *shape)
    with torch.no_grad():
        agree(session(wider.numpy()), model(wider))
    with pytest.raises(TersenetError, match=r"other heights and widths, where they run"):
        session(x.numpy())
    session = runtime.open(path, threads=1, shapes=[tuple(x.shape[1:])])
    with torch.no_grad():
        agree(session(x.numpy()), model(x))


def test_shapes_that_a_file_cannot_take_are_refused(lenet, tmp_path):
    for shapes, sentence in (
        ([(1, 40, 40)], r"lenet5_paper-0.terse: input 'x' has shape \(batch, 1, 40, 40\).*flatten"),
        ([(3, 28, 28)], r"has shape \(batch, 3, 28, 28\); expected \(batch, 1, 28, 28\)$"),
        ([(28, 28)], "has shape"),
        ([], "0 inputs came"),
    ):
        with pytest.raises(TersenetError, match=sentence):
            runtime.open(lenet, shapes=shapes)
    path = saved("resnet8", tmp_path)[2]
    for shape in ((3, 0, 32), (3, -1, 32), (3, 32, 2**31), (3, 33, 32)):  # 33: the branches of a sum differ
        with pytest.raises(TersenetError):
            runtime.open(path, shapes=[shape])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TersenetError, match="resnet8.terse: section .* is cut"):
        runtime.open(path, shapes=[(3, 40, 40)])


SMALL_BUT_LARGE = (
    ((1, 40_000, 40_000), {}),
    ((1, 2, 2), {"padding": [20_000, 20_000]}),
    ((1, 3, 3), {"padding": [20_000, 20_000], "stride": [39_999, 39_999]}),
)


def test_a_small_file_cannot_ask_for_large_memory(tmp_path):
    from tersenet.container import Model, write
    from tersenet.ir import Graph, Input, Parameter, Value, make_node
    from tersenet.storage import Floats, Reshape

    weight = {"w": Reshape(Floats(np.ones(1, np.float32)), (1, 1, 1, 1))}
    for number, (shape, arguments) in enumerate(SMALL_BUT_LARGE):
        node = make_node("conv2d", input=Value(0), weight=Parameter("w"), **arguments)
        graph = Graph((Input("x", "float32", shape),), (node,), (Value(1),), ("y",), {"w": "float32"})
        write(tmp_path / f"{number}.terse", Model(graph=graph, tensors=weight))
        with pytest.raises(TersenetError, match=r"limit|2\^31"):
            runtime.open(tmp_path / f"{number}.terse")
