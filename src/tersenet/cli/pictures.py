"""Examples as pictures: pixels of what a network reads, PNGs, and a sheet of them with captions."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# A picture in a page is shown this large or smaller; larger ones are thinned out.
LARGEST_PX = 128
# The sheet: pictures grown to this side, side by side, with two lines below each.
SIDE_PX, COLUMNS, GAP_PX, CAPTION_PX = 112, 6, 12, 34


def pixels(data: Any, index: int, example: Tensor) -> np.ndarray | None:
    """An example (h, w) or (h, w, 3) in bytes: as stored where a data set of the zoo holds it, else the network's input
    from its darkest value to its brightest. None where it is no picture.
    """
    import numpy as np

    stored = getattr(data, "x", None)
    if isinstance(stored, np.ndarray) and stored.dtype == np.uint8 and stored.ndim == 4:
        found = stored[index]
    elif example.ndim == 3 and example.is_floating_point():
        low, high = example.min(), example.max()
        found = ((example - low) * (255 / (high - low).clamp(min=1e-12))).round().byte().numpy()
    else:
        return None
    channels, height, width = found.shape
    if channels not in (1, 3) or min(height, width) < 2:
        return None
    thinned = -(-max(height, width) // LARGEST_PX)
    found = found[:, ::thinned, ::thinned]
    return np.ascontiguousarray(found[0] if channels == 1 else found.transpose(1, 2, 0))


def to_png(picture: np.ndarray) -> bytes:
    """The file of a picture."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return out.getvalue()


def sheet(pictures: list[np.ndarray], captions: list[tuple[str, str]]) -> bytes:
    """All pictures on one PNG, each above its two lines."""
    from PIL import Image, ImageDraw

    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    wide, high = SIDE_PX + GAP_PX, SIDE_PX + CAPTION_PX + GAP_PX
    page = Image.new("RGB", (columns * wide + GAP_PX, rows * high + GAP_PX), "white")
    draw = ImageDraw.Draw(page)
    for place, (picture, lines) in enumerate(zip(pictures, captions)):
        x, y = GAP_PX + place % columns * wide, GAP_PX + place // columns * high
        one = Image.fromarray(picture).convert("RGB")
        scale = SIDE_PX / max(one.size)
        grown = one.resize((round(one.width * scale), round(one.height * scale)), Image.Resampling.NEAREST)
        page.paste(grown, (x, y))
        for line, text in enumerate(lines):
            # The built-in font has Latin letters only.
            plain = text.encode("latin-1", "replace").decode("latin-1")
            draw.text((x, y + SIDE_PX + 4 + 15 * line), plain[:19], fill="black")
    out = io.BytesIO()
    page.save(out, "PNG", optimize=True)
    return out.getvalue()
