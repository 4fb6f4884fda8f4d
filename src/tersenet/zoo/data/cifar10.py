"""CIFAR-10 (Krizhevsky 2009) in three forms: the original binary and python ones, and difference-coded .npz.

The .npz form stores pixels as differences: delta, whose running sums (mod 256) over rows and columns
give red - green, green, blue - green.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tersenet.zoo.data.cifar_pickle import read_batch
from tersenet.zoo.data.download import Remote, fetch
from tersenet.zoo.data.errors import DataError
from tersenet.zoo.data.places import folders, missing
from tersenet.zoo.data.request import NOT_ASKED, PARTS, Request
from tersenet.zoo.data.split import Data, Split, held_out
from tersenet.zoo.preprocess import Preprocess

SUBFOLDERS = ("cifar10", "cifar-10-batches-bin", "cifar-10-batches-py")
REMOTE = Remote("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATE = 5000
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS  # a label byte, then red, green, blue planes
# Six times what a batch of 10,000 takes: the most that is read of one file.
MAX_BATCH_BYTES = 6 * 10_000 * RECORD
DEFAULT = Preprocess(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

Arrays = tuple[np.ndarray, np.ndarray]
Decode = Callable[[bytes, str], Arrays]
FORMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "npz": (tuple(f"cifar10-train-{i}.npz" for i in range(5)), ("cifar10-test.npz",)),
    "binary": (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)),
    "python": (tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",)),
}
ARCHIVES = {"cifar-10-binary.tar.gz": "binary", "cifar-10-python.tar.gz": "python"}


def cifar10(request: Request) -> Data:
    """50,000 photographs of 32x32 in ten classes to train and validate, 10,000 to test."""
    preprocess = request.preprocess or DEFAULT
    source = _find(request.data_dir)
    if source is None and request.download:
        fetch(REMOTE, folders(SUBFOLDERS[:1], request.data_dir)[0])
        source = _find(request.data_dir)
    if source is None:
        names = [
            "cifar10-train-0.npz ... and cifar10-test.npz",
            "data_batch_1.bin ...",
            "data_batch_1 ...",
            *ARCHIVES,
        ]
        raise missing("cifar10", names, SUBFOLDERS, request.data_dir, fetchable=True)
    folder, form, archive = source
    splits: dict[str, Split] = {}
    absent = dict.fromkeys(PARTS, NOT_ASKED)
    train_names, test_names = FORMS[form]
    if request.learns:
        train = _read_all(folder, form, archive, train_names)
        if train is None:
            absent["train"] = absent["validate"] = f"{archive or folder} lacks one of {', '.join(train_names)}"
        else:
            x, y = train
            # A full set gives 5,000; a smaller one of the user's gives the same share.
            rows, held = held_out(len(x), max(1, min(VALIDATE, len(x) // 10)))
            splits["train"] = Split(x[rows], y[rows], 10, preprocess)
            splits["validate"] = Split(x[held], y[held], 10, preprocess)
    if "test" in request.parts:
        test = _read_all(folder, form, archive, test_names)
        if test is None:
            absent["test"] = f"{archive or folder} lacks {test_names[0]}"
        else:
            splits["test"] = Split(*test, 10, preprocess)
    return Data("cifar10", splits, 10, CLASS_NAMES, absent)


def _find(data_dir: str | Path | None) -> tuple[Path, str, Path | None] | None:
    """The folder, the form, and the archive if the files are still packed."""
    for folder in folders(SUBFOLDERS, data_dir):
        for form, (train, test) in FORMS.items():
            if any((folder / name).is_file() for name in (*train, *test)):
                return folder, form, None
        for archive, form in ARCHIVES.items():
            if (folder / archive).is_file():
                return folder, form, folder / archive
    return None


def _read_all(folder: Path, form: str, archive: Path | None, names: tuple[str, ...]) -> Arrays | None:
    """All batches of one part, or None when one of them is not there."""
    if form == "npz":
        if not all((folder / name).is_file() for name in names):
            return None
        batches = [read_npz(folder / name) for name in names]
    else:
        decode = {"binary": decode_binary, "python": read_batch}[form]
        if archive is not None:
            return _read_archive(archive, names, decode)
        if not all((folder / name).is_file() for name in names):
            return None
        batches = [decode(_bounded(folder / name), str(folder / name)) for name in names]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def _read_archive(archive: Path, names: tuple[str, ...], decode: Callable[[bytes, str], Arrays]) -> Arrays | None:
    """Batches straight out of the published archive; nothing is unpacked to disk."""
    raw: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                if name in names and member.isfile():
                    if member.size > MAX_BATCH_BYTES:
                        raise DataError(
                            f"{archive}: {name} is said to take {member.size} bytes; that is no CIFAR batch"
                        )
                    file = tar.extractfile(member)
                    raw[name] = file.read() if file is not None else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: cut or damaged ({error}); fetch it again") from error
    if any(name not in raw for name in names):
        return None
    batches = [decode(raw[name], f"{archive}:{name}") for name in names]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def _bounded(path: Path) -> bytes:
    size_bytes = path.stat().st_size
    if size_bytes > MAX_BATCH_BYTES:
        raise DataError(f"{path}: {size_bytes} bytes; a CIFAR-10 batch has {10_000 * RECORD}")
    return path.read_bytes()


def decode_binary(raw: bytes, path: str) -> Arrays:
    """Records of one label byte and 3072 pixel bytes."""
    if not raw or len(raw) % RECORD:
        raise DataError(f"{path}: {len(raw)} bytes; CIFAR-10's binary form has records of {RECORD}: fetch it again")
    records = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    _check_labels(labels, path)
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def read_npz(path: Path) -> Arrays:
    """The difference-coded form: arrays `delta` (n, 3, 32, 32) and `labels` (n,), uint8."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes_bytes = {info.filename: info.file_size for info in archive.infolist()}
        lacking = {"delta.npy", "labels.npy"} - sizes_bytes.keys()
        if lacking:
            raise DataError(f"{path}: it lacks {', '.join(sorted(lacking))}")
        if max(sizes_bytes["delta.npy"], sizes_bytes["labels.npy"]) > MAX_BATCH_BYTES:
            raise DataError(f"{path}: it unpacks to more than {MAX_BATCH_BYTES} bytes; that is no CIFAR batch")
        with np.load(path, allow_pickle=False) as file:
            delta, labels = file["delta"], file["labels"]
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a readable .npz file ({error}); fetch it again") from error
    if delta.dtype != np.uint8 or delta.shape[1:] != (3, 32, 32) or labels.shape != delta.shape[:1]:
        raise DataError(
            f"{path}: delta is {delta.dtype} {delta.shape} and labels {labels.shape}; "
            "uint8 (n, 3, 32, 32) and (n,) are expected"
        )
    x = np.cumsum(np.cumsum(delta, 2, dtype=np.uint8), 3, dtype=np.uint8)
    x[:, [0, 2]] += x[:, 1:2]
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: labels are {labels.dtype}; whole numbers are expected")
    _check_labels(labels.astype(np.int64), path)
    return x, labels.astype(np.int64)


def _check_labels(labels: np.ndarray, path: str | Path) -> None:
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        where = int(np.argmax((labels < 0) | (labels > 9)))
        raise DataError(f"{path}: label {where} is {int(labels[where])}; labels are 0 to 9")
