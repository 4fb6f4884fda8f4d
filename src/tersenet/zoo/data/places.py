"""Where data is looked for: the folder given, then TERSENET_DATA, then ~/.cache/tersenet."""

import os
from collections.abc import Iterable
from pathlib import Path

from tersenet.zoo.data.errors import DataMissing

VARIABLE = "TERSENET_DATA"


def roots(data_dir: str | Path | None) -> list[Path]:
    """The folders to look in, first the most explicit; each once."""
    found = [Path(data_dir)] if data_dir is not None else []
    if os.environ.get(VARIABLE):
        found.append(Path(os.environ[VARIABLE]))
    found.append(Path.home() / ".cache" / "tersenet")
    return list(dict.fromkeys(found))


def find(names: Iterable[str], subfolders: Iterable[str], data_dir: str | Path | None) -> Path | None:
    """The first file of any of these names, in a subfolder of a root or right in the root."""
    names = list(names)
    for folder in folders(subfolders, data_dir):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def folders(subfolders: Iterable[str], data_dir: str | Path | None) -> list[Path]:
    """Each root's subfolders, then the root itself."""
    subfolders = list(subfolders)
    return [place for root in roots(data_dir) for place in (*(root / sub for sub in subfolders), root)]


def missing(
    data: str,
    names: Iterable[str],
    subfolders: Iterable[str],
    data_dir: str | Path | None,
    *,
    fetchable: bool,
) -> DataMissing:
    """The sentence for data that is nowhere."""
    where = ", ".join(str(folder) for folder in folders(subfolders, data_dir))
    how = f"name its folder with --data-dir or {VARIABLE}"
    if fetchable:
        how += ", or fetch it with --download"
    return DataMissing(f"data {data!r} is not here: looked for {', '.join(names)} in {where}; {how}")
