"""Decoding photographs with Pillow, bounded."""

import io
import warnings
from pathlib import Path

import numpy as np

from tersenet.zoo.data.errors import DataError, DataMissing

try:
    from PIL import Image
except ImportError as error:
    raise DataMissing("images are read with Pillow, which is not installed: pip install pillow") from error

# A photograph of 100 megapixels takes 300 MB decoded; a larger one in a data set is a mistake or an attack.
MAX_PIXELS = 100_000_000
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def probe(source: Path | bytes, name: str) -> tuple[int, int, bool]:
    """Height, width, and whether it is grey, from the header alone."""
    with _open(source, name) as image:
        return image.height, image.width, image.mode in ("L", "1", "I;16")


def decode(source: Path | bytes, name: str, *, grey: bool = False, side: int | None = None) -> np.ndarray:
    """(c, h, w) uint8, three channels or one; with `side`, shorter side to it and the centre square."""
    with _open(source, name) as image:
        try:
            image = image.convert("L" if grey else "RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{name}: cut or damaged image ({error})") from error
        if side is not None:
            image = _square(image, side)
        pixels = np.asarray(image, np.uint8)
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _open(source: Path | bytes, name: str) -> "Image.Image":
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except _UNREADABLE as error:
        raise DataError(f"{name}: not a readable image ({error})") from error
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{name}: {image.width}x{image.height} pixels; at most {MAX_PIXELS} are read")
    return image


def _square(image: "Image.Image", side: int) -> "Image.Image":
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))
