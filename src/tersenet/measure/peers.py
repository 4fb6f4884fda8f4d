"""A network of a file as others would run it: torch, and onnxruntime on its export, dense, in float32 or int8."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tersenet import artifact
from tersenet.errors import TersenetError

PEERS = ("torch", "onnxruntime", "onnxruntime-int8")
Call = Callable[[], np.ndarray]


def peer_calls(path: Path, arrays: Sequence[np.ndarray], names: Sequence[str], threads: int) -> dict[str, Call]:
    """A call that gives the first output on `arrays`, for each peer named.

    torch runs the dense network of the file; the thread count is set for the process. int8 is static, per channel
    (QDQ), calibrated on `arrays` alone: a peer in speed, not in accuracy. Raises TersenetError for an unknown name,
    a missing package, or a network that a peer does not take.
    """
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        raise TersenetError(f"cannot compare with {', '.join(unknown)}; known are {', '.join(PEERS)}")
    network = artifact.load(path, dense=True).eval()
    given = [torch.from_numpy(array) for array in arrays]
    torch.set_num_threads(threads)
    calls: dict[str, Call] = {}
    if "torch" in names:

        def run_torch() -> np.ndarray:
            with torch.no_grad():
                found: np.ndarray = _first(network(*given)).numpy()
            return found

        calls["torch"] = run_torch
    wanted = [name for name in names if name != "torch"]
    if wanted:
        try:
            calls.update(_onnx_calls(network, given, wanted, threads))
        except ImportError as error:
            raise TersenetError(
                f"{wanted[0]} needs the package '{error.name}'; install onnx and onnxruntime"
            ) from error
    return {name: calls[name] for name in names}


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) else output


def _onnx_calls(
    network: torch.nn.Module, given: Sequence[torch.Tensor], names: Sequence[str], threads: int
) -> dict[str, Call]:
    import onnxruntime
    from onnxruntime import quantization

    logging.getLogger().setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(4)
    feed = {f"x{i}": tensor.numpy() for i, tensor in enumerate(given)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    calls: dict[str, Call] = {}
    with tempfile.TemporaryDirectory() as folder:
        dense, rounded = Path(folder) / "dense.onnx", Path(folder) / "int8.onnx"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(network, tuple(given), str(dense), input_names=list(feed), dynamo=False)
            if "onnxruntime-int8" in names:
                quantization.quantize_static(dense, rounded, _reader(quantization, feed), per_channel=True)
            for name, path in (("onnxruntime", dense), ("onnxruntime-int8", rounded)):
                if name in names:
                    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
                    calls[name] = _onnx_call(session, feed)
        except ImportError:
            raise
        except Exception as error:
            raise TersenetError(
                f"onnxruntime does not take this network ({type(error).__name__}: {str(error)[:200]}); leave it out"
            ) from error
    return calls


def _reader(quantization: Any, feed: dict[str, np.ndarray]) -> Any:
    left = [feed]

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return left.pop() if left else None

    return Reader()


def _onnx_call(session: Any, feed: dict[str, np.ndarray]) -> Call:
    return lambda: session.run(None, feed)[0]
