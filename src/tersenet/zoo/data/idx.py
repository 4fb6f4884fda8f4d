"""MNIST and Fashion-MNIST in the IDX form of http://yann.lecun.com/exdb/mnist: big-endian, plain or gzip."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from tersenet.zoo.data.download import Remote, fetch
from tersenet.zoo.data.errors import DataError
from tersenet.zoo.data.places import folders, missing
from tersenet.zoo.data.request import NOT_ASKED, PARTS, Request
from tersenet.zoo.data.split import Data, Split, held_out
from tersenet.zoo.preprocess import Preprocess

SIDE = 28
VALIDATE = 5000
# Far above the 60,000 that exist: what a header may claim before anything is read.
MAX_IMAGES = 1_000_000
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
PREFIXES = {"train": "train", "test": "t10k"}

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
REMOTE = {
    "mnist": {
        "train-images-idx3-ubyte": Remote(f"{_MNIST}train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train-labels-idx1-ubyte": Remote(f"{_MNIST}train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        "t10k-images-idx3-ubyte": Remote(f"{_MNIST}t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        "t10k-labels-idx1-ubyte": Remote(f"{_MNIST}t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": Remote(f"{_FASHION}train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte": Remote(f"{_FASHION}train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte": Remote(f"{_FASHION}t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte": Remote(f"{_FASHION}t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    },
}
SUBFOLDERS = {
    "mnist": ("mnist", "MNIST/raw"),
    "fashion_mnist": ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
}
CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
# Caffe's LeNet example divides by 256.
DEFAULT = Preprocess(scale=1 / 256)


def mnist(request: Request) -> Data:
    """60,000 handwritten digits to train and validate, 10,000 to test (LeCun et al. 1998)."""
    return _load("mnist", request)


def fashion_mnist(request: Request) -> Data:
    """The same sizes, pictures of clothes (Xiao et al. 2017, arXiv:1708.07747)."""
    return _load("fashion_mnist", request)


def _load(data: str, request: Request) -> Data:
    found = _find(data, request)
    preprocess = request.preprocess or DEFAULT
    folder = next(iter(found.values()))[0].parent
    splits: dict[str, Split] = {}
    absent = dict.fromkeys(PARTS, NOT_ASKED)
    for part in PREFIXES.keys() - found.keys():
        stem = PREFIXES[part]
        absent[part] = (
            f"{folder} lacks {stem}-images-idx3-ubyte.gz or {stem}-labels-idx1-ubyte.gz; get them by --download"
        )
    if "train" not in found:
        absent["validate"] = absent["train"]
    elif request.learns:
        x, y = read_pair(*found["train"])
        # A full set gives 5,000; a smaller one of the user's gives the same share.
        train, validate = held_out(len(x), max(1, min(VALIDATE, len(x) // 12)))
        splits["train"] = Split(x[train], y[train], 10, preprocess)
        splits["validate"] = Split(x[validate], y[validate], 10, preprocess)
    if "test" in found and "test" in request.parts:
        splits["test"] = Split(*read_pair(*found["test"]), 10, preprocess)
    return Data(data, splits, 10, CLASS_NAMES[data], absent)


def _find(data: str, request: Request) -> dict[str, tuple[Path, Path]]:
    """The files of each part that is there, all from one folder.

    MNIST and Fashion-MNIST give their files the same names: parts from two folders could be of both.
    """
    found: dict[str, tuple[Path, Path]] = {}
    places = folders(SUBFOLDERS[data], request.data_dir)
    for folder in places:
        found = _parts(folder)
        if found:
            break
    wanted = {"test" if part == "test" else "train" for part in request.parts}
    if request.download and wanted - found.keys():
        home = places[0]
        for name, remote in REMOTE[data].items():
            if not (home / name).is_file() and not (home / remote.name).is_file():
                fetch(remote, home)
        found = _parts(home)
    if not found:
        names = [f"{name}.gz" for name in REMOTE[data]]
        raise missing(data, names, SUBFOLDERS[data], request.data_dir, fetchable=True)
    return found


def _parts(folder: Path) -> dict[str, tuple[Path, Path]]:
    return {part: pair for part, stem in PREFIXES.items() if (pair := _pair(folder, stem)) is not None}


def _pair(folder: Path, prefix: str) -> tuple[Path, Path] | None:
    """The images' and the labels' file of one part, if both are in `folder`."""
    pair = []
    for kind in ("images-idx3", "labels-idx1"):
        stems = (f"{prefix}-{kind}-ubyte", f"{prefix}-{kind.replace('-', '.')}-ubyte")
        names = [f"{stem}{suffix}" for stem in stems for suffix in (".gz", "")]
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            return None
        pair.append(path)
    return pair[0], pair[1]


def read_pair(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 1, 28, 28) uint8 and labels (n,) int64 of two files that belong together."""
    x, y = read_images(images), read_labels(labels)
    if len(x) != len(y):
        raise DataError(f"{images} holds {len(x)} images but {labels} {len(y)} labels; they are not one pair")
    return x, y


def read_images(path: Path) -> np.ndarray:
    """Magic 2051, count, rows, columns (each uint32), then one byte a pixel."""
    head, body = _read(path, IMAGES_MAGIC, 4)
    count, rows, columns = head
    if (rows, columns) != (SIDE, SIDE):
        raise DataError(f"{path}: images of {rows}x{columns}; MNIST's are {SIDE}x{SIDE}")
    return body.reshape(count, 1, SIDE, SIDE)


def read_labels(path: Path) -> np.ndarray:
    """Magic 2049, count (each uint32), then one byte a label, 0 to 9."""
    _, body = _read(path, LABELS_MAGIC, 2)
    if body.size and body.max() > 9:
        where = int(np.argmax(body > 9))
        raise DataError(f"{path}: label {where} is {int(body[where])}; labels are 0 to 9")
    return body.astype(np.int64)


def _read(path: Path, magic: int, words: int) -> tuple[list[int], np.ndarray]:
    """The header words after the magic number, and the bytes that they announce, no more and no fewer."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(4 * words)
            head = np.frombuffer(start[: len(start) // 4 * 4], ">u4").tolist()
            if len(head) != words or head[0] != magic:
                raise DataError(
                    f"{path}: begins with {head[0] if head else 'nothing'}; "
                    f"an IDX file of this kind begins with {magic}"
                )
            count, unit = head[1], int(np.prod(head[2:], dtype=np.float64))
            if not 0 < count <= MAX_IMAGES or unit > SIDE * SIDE:
                raise DataError(f"{path}: announces {count} items of {unit} bytes; 1 to {MAX_IMAGES} are expected")
            body = file.read(count * unit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cut or damaged ({error}); fetch it again") from error
    if len(body) != count * unit:
        came = f"only {len(body)}" if len(body) < count * unit else "more"
        raise DataError(f"{path}: {came} bytes follow a header that announces {count * unit}; fetch it again")
    return head[1:], np.frombuffer(body, np.uint8)
