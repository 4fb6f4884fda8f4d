"""A thousand ImageNet images, one a class: a zip of 256x256 JPEGs with a labels.csv.

They behave like training images: compare a net with its compressed self on them, never call the
result an ImageNet accuracy.
"""

import csv
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tersenet.zoo.data.errors import DataError
from tersenet.zoo.data.places import find, missing
from tersenet.zoo.data.request import Request
from tersenet.zoo.data.split import Data, Split
from tersenet.zoo.preprocess import Preprocess

ARCHIVE = "imagenet-sample-256.zip"
SUBFOLDERS = ("imagenet-sample", "imagenet_sample")
SIDE = 256
CLASSES = 1000
# A JPEG of 256x256 takes some 30 KB; labels.csv 42 KB. At most this much of a member is unpacked.
MAX_MEMBER_BYTES = 4 << 20
MAX_IMAGES = 50_000
DEFAULT = Preprocess(crop=224, scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def imagenet_sample(request: Request) -> Data:
    """1,000 photographs to test; there is nothing to train on."""
    path = find((ARCHIVE,), SUBFOLDERS, request.data_dir)
    if path is None:
        raise missing("imagenet_sample", (ARCHIVE,), SUBFOLDERS, request.data_dir, fetchable=False)
    x, y, names = read_archive(path)
    why = "the sample is for testing only"
    splits = {"test": Split(x, y, CLASSES, request.preprocess or DEFAULT)}
    return Data("imagenet_sample", splits, CLASSES, names, {"train": why, "validate": why})


def read_archive(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images (n, 3, 256, 256) uint8, labels (n,) int64 and class names, in the order of labels.csv."""
    from tersenet.zoo.data.images import decode

    try:
        with zipfile.ZipFile(path) as archive:
            rows = _labels(_member(archive, "labels.csv", path).decode("utf-8"), path)
            x = np.empty((len(rows), 3, SIDE, SIDE), np.uint8)
            for index, (_, _, file) in enumerate(rows):
                image = decode(_member(archive, file, path), f"{path}:{file}")
                if image.shape != x.shape[1:]:
                    raise DataError(
                        f"{path}:{file}: {image.shape[1]}x{image.shape[2]} pixels; {SIDE}x{SIDE} are expected"
                    )
                x[index] = image
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, UnicodeDecodeError, RuntimeError) as error:
        raise DataError(f"{path}: not a readable zip of images ({error}); fetch it again") from error
    names = [""] * CLASSES
    for label, name, _ in rows:
        names[label] = name
    return x, np.array([label for label, _, _ in rows], np.int64), tuple(names)


def _labels(text: str, path: Path) -> list[tuple[int, str, str]]:
    """Class index, class name and file of each row."""
    rows = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            index, name, file = int(row["index"]), row["name"], row["file"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: line {number} of labels.csv lacks index, name or file") from error
        if not 0 <= index < CLASSES:
            raise DataError(f"{path}: line {number} of labels.csv has class {index}; classes are 0 to {CLASSES - 1}")
        rows.append((index, name, file))
    if not 0 < len(rows) <= MAX_IMAGES:
        raise DataError(f"{path}: labels.csv names {len(rows)} images; 1 to {MAX_IMAGES} are expected")
    return rows


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise DataError(f"{path}: it lacks {name}") from error
    if info.file_size > MAX_MEMBER_BYTES:
        raise DataError(
            f"{path}: {name} is said to unpack to {info.file_size} bytes; at most {MAX_MEMBER_BYTES} are read"
        )
    return archive.read(info)
