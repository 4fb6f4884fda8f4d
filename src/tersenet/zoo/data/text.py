"""Text as tokens: Shakespeare by characters, and TinyStories as the small Llama's own tokens."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tersenet.zoo.data.errors import DataError
from tersenet.zoo.data.places import find, missing
from tersenet.zoo.data.request import Request
from tersenet.zoo.data.split import IGNORED, Data, Split, held_out

SHAKESPEARE, SHAKESPEARE_FOLDERS = "tinyshakespeare.txt", ("text", "tinyshakespeare")
STORIES, STORIES_FOLDERS = "eval_tokens.npz", ("models/stories260k", "stories260k", "stories")
# Characters that one example reads; what char-rnn and its successors train small nets on.
WINDOW = 128
VOCABULARY = 512  # of the stories
# 16 times tinyshakespeare; larger texts want a loader of their own.
MAX_BYTES = 16 << 20


def tinyshakespeare(request: Request) -> Data:
    """Windows of 128 characters and the character that follows each; in the text's order 90, 5, 5 %."""
    path = find((SHAKESPEARE,), SHAKESPEARE_FOLDERS, request.data_dir)
    if path is None:
        raise missing("tinyshakespeare", (SHAKESPEARE,), SHAKESPEARE_FOLDERS, request.data_dir, fetchable=False)
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as text ({error})") from error
    if len(text) < 20 * (WINDOW + 1):
        raise DataError(f"{path}: {len(text)} characters are too few; at least {20 * (WINDOW + 1)} are needed")
    alphabet = sorted(set(text))
    code = {character: index for index, character in enumerate(alphabet)}
    tokens = np.array([code[character] for character in text], np.int64)
    ends = {"train": (0, len(text) * 90 // 100), "validate": (len(text) * 90 // 100, len(text) * 95 // 100)}
    ends["test"] = (ends["validate"][1], len(text))
    splits = {part: _windows(tokens[start:end], len(alphabet)) for part, (start, end) in ends.items()}
    return Data("tinyshakespeare", splits, len(alphabet), tuple(alphabet))


def stories(request: Request) -> Data:
    """Real TinyStories to test; to train and validate, text that the small Llama wrote itself."""
    path = find((STORIES,), STORIES_FOLDERS, request.data_dir)
    if path is None:
        raise missing("stories", (STORIES,), STORIES_FOLDERS, request.data_dir, fetchable=False)
    sampled, real = _read_tokens(path)
    train, validate = held_out(len(sampled), max(1, len(sampled) // 8))
    splits = {
        "train": _next_tokens(sampled[train]),
        "validate": _next_tokens(sampled[validate]),
        "test": _next_tokens(real),
    }
    return Data("stories", splits, VOCABULARY)


def _read_tokens(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`self_sampled` and `tinystories_real`, (n, t) int64, -1 where a text has ended."""
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                raise DataError(f"{path}: it unpacks to more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as file:
            for name in ("self_sampled", "tinystories_real"):
                if name not in file:
                    raise DataError(f"{path}: it lacks the array {name}")
                arrays.append(file[name])
    except DataError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: not a readable .npz file ({error})") from error
    for array in arrays:
        whole = np.issubdtype(array.dtype, np.integer) and array.ndim == 2 and array.shape[1] > 1
        if not whole or (array.size and not -1 <= array.min() <= array.max() < VOCABULARY):
            raise DataError(f"{path}: tokens are rows of whole numbers from -1 (padding) to {VOCABULARY - 1}")
    return arrays[0].astype(np.int64), arrays[1].astype(np.int64)


def _next_tokens(rows: np.ndarray) -> Split:
    """Each token with the one after it; padding reads as token 0 and is ignored as a target."""
    x, y = rows[:, :-1], rows[:, 1:]
    return Split(np.where(x < 0, 0, x), np.where(y < 0, IGNORED, y), VOCABULARY)


def _windows(tokens: np.ndarray, classes: int) -> Split:
    count = (len(tokens) - 1) // WINDOW
    x = tokens[: count * WINDOW].reshape(count, WINDOW)
    y = tokens[1 : count * WINDOW + 1].reshape(count, WINDOW)
    return Split(x, y, classes)
