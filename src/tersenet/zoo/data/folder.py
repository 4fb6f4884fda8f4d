"""Folders of images, one subfolder a class: `folder:PATH`.

PATH/train, PATH/validate (or val) and PATH/test are the splits where PATH/train is a folder; otherwise
PATH itself holds the classes and a tenth each is set aside to validate and to test.
"""

from pathlib import Path

import numpy as np

from tersenet.zoo.data.errors import DataError, DataMissing
from tersenet.zoo.data.split import Data, Split, held_out
from tersenet.zoo.preprocess import Preprocess

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
PARTS = {"train": ("train",), "validate": ("validate", "val", "valid"), "test": ("test",)}
# Images of different sizes become squares of this side, as the usual ImageNet test does.
SIDE = 256
# Everything is held in memory; more than this is refused before it is decoded.
MAX_BYTES = 8 << 30
SHARE = 10


def image_folder(path: str | Path, preprocess: Preprocess | None) -> Data:
    """The classes are the subfolders' names, in alphabetical order."""
    path = Path(path)
    if not path.is_dir():
        raise DataMissing(f"{path}: no such folder; folder:PATH names one with a subfolder a class")
    name = f"folder:{path}"
    roots = {part: place for part, names in PARTS.items() if (place := _first(path, names)) is not None}
    if "train" not in roots:
        roots = {"all": path}
    classes = _classes(roots.get("train", path))
    listed = {part: _files(place, classes) for part, place in roots.items()}
    form = _form([file for files in listed.values() for file, _ in files])
    preprocess = preprocess or Preprocess(scale=1 / 255)
    splits = {part: _split(files, form, len(classes), preprocess) for part, files in listed.items()}
    if "all" in splits:
        whole = splits.pop("all")
        if len(whole) < SHARE:
            raise DataError(f"{path}: {len(whole)} images are too few to set parts aside; give train and test folders")
        rest, test = held_out(len(whole), len(whole) // SHARE)
        train, validate = (rest[rows] for rows in held_out(len(rest), max(1, len(whole) // SHARE)))
        splits = {"train": whole.take(train), "validate": whole.take(validate), "test": whole.take(test)}
    elif "validate" not in splits:
        whole = splits["train"]
        train, validate = held_out(len(whole), max(1, len(whole) // SHARE))
        splits |= {"train": whole.take(train), "validate": whole.take(validate)}
    return Data(name, splits, len(classes), tuple(classes), {"test": f"{path} has no folder test"})


def _first(path: Path, names: tuple[str, ...]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _classes(path: Path) -> list[str]:
    classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"{path}: it has no subfolders; images belong into one subfolder a class")
    return classes


def _files(path: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """Every image with its class, in alphabetical order."""
    unknown = set(_classes(path)) - set(classes)
    if unknown:
        raise DataError(f"{path}: the class {sorted(unknown)[0]!r} is not among the training classes")
    files = [
        (file, label)
        for label, name in enumerate(classes)
        if (path / name).is_dir()
        for file in sorted((path / name).iterdir())
        if file.suffix.lower() in SUFFIXES and file.is_file()
    ]
    if not files:
        raise DataError(f"{path}: no images in its subfolders; {', '.join(SUFFIXES)} are read")
    return files


def _form(files: list[Path]) -> tuple[bool, int, int, int | None]:
    """Grey or not, height, width, and the side to bring them to where they differ."""
    from tersenet.zoo.data.images import probe

    forms = {probe(file, str(file)) for file in files}
    grey = all(form[2] for form in forms)
    sizes = {form[:2] for form in forms}
    height, width = next(iter(sizes)) if len(sizes) == 1 else (SIDE, SIDE)
    size_bytes = len(files) * height * width * (1 if grey else 3)
    if size_bytes > MAX_BYTES:
        raise DataError(
            f"{len(files)} images of {height}x{width} take {size_bytes >> 20} MiB; "
            f"at most {MAX_BYTES >> 20} are held "
            "in memory: shrink them, or write a loader of your own"
        )
    return grey, height, width, None if len(sizes) == 1 else SIDE


def _split(
    files: list[tuple[Path, int]],
    form: tuple[bool, int, int, int | None],
    classes: int,
    preprocess: Preprocess,
) -> Split:
    from tersenet.zoo.data.images import decode

    grey, height, width, side = form
    x = np.empty((len(files), 1 if grey else 3, height, width), np.uint8)
    for index, (file, _) in enumerate(files):
        x[index] = decode(file, str(file), grey=grey, side=side)
    return Split(x, np.array([label for _, label in files], np.int64), classes, preprocess)
