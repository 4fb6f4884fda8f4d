"""scikit-learn's digits: 1,797 handwritten digits of 8x8, which its package holds, so nothing is fetched."""

import numpy as np

from tersenet.zoo.data.errors import DataMissing
from tersenet.zoo.data.request import Request
from tersenet.zoo.data.split import Data, Split, held_out
from tersenet.zoo.preprocess import Preprocess

# The set has no test part of its own: a fifth is set aside first, a tenth of the rest to validate.
TEST_SHARE, VALIDATE_SHARE = 5, 10
LEVELS = 16  # pixels are 0 to 16


def digits(request: Request) -> Data:
    """1x8x8, pixels 0 to 16."""
    x, y = _embedded()
    return _data("digits", x.astype(np.uint8), y, request.preprocess or Preprocess(scale=1 / LEVELS))


def digits28(request: Request) -> Data:
    """The same, grown to 1x28x28 with pixels 0 to 255, so that MNIST's networks run on them."""
    x, y = _embedded()
    # MNIST centres a 20x20 digit in 28x28; so does this.
    grown = np.zeros((len(x), 1, 28, 28), np.uint8)
    matrix = _bilinear(8, 20)
    pixels = np.einsum("ia,ncab,jb->ncij", matrix, x, matrix) * (255 / LEVELS)
    grown[:, :, 4:24, 4:24] = np.rint(pixels).astype(np.uint8)
    return _data("digits28", grown, y, request.preprocess or Preprocess(scale=1 / 256))


def _embedded() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (1797, 1, 8, 8) float64 and labels (1797,) int64."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataMissing(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    found = load_digits()
    return found.images[:, None], found.target.astype(np.int64)


def _data(name: str, x: np.ndarray, y: np.ndarray, preprocess: Preprocess) -> Data:
    rest, test = held_out(len(x), len(x) // TEST_SHARE)
    train, validate = (rest[rows] for rows in held_out(len(rest), len(rest) // VALIDATE_SHARE))
    rows = {"train": train, "validate": validate, "test": test}
    splits = {part: Split(x[index], y[index], 10, preprocess) for part, index in rows.items()}
    return Data(name, splits, 10, tuple("0123456789"))


def _bilinear(before: int, after: int) -> np.ndarray:
    """(after, before): each new sample's weights on the old ones, pixel centres aligned."""
    position = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    left = np.minimum(position.astype(int), before - 2)
    matrix = np.zeros((after, before))
    matrix[np.arange(after), left] = 1 - (position - left)
    matrix[np.arange(after), left + 1] = position - left
    return matrix
