"""Pictures of the page: images as JPEG, with boxes above them as SVG.

Boxes and names are drawn by the browser, which has fonts for all languages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from src.data.page.shapes import Label, Shape, labels
from src.runtime.html import data_url

QUALITIES = (80, 60, 40)  # of JPEGs, the first that is small enough
MOST_BYTES = 40_000  # of one
SHAPE_BYTES, LABEL_BYTES = 320, 260  # of a shape with its text, and of a label
NARROW = 168  # pixels of a picture's width on a phone, two in a row
LARGEST_SCALE = 4.0  # pixels of the page for one of a small image


@dataclass(frozen=True)
class Format:
    """How large pictures are shown, in pixels of a page."""

    width: int
    height: int
    letters: int = 12  # size of the labels' font
    narrow_letters: int = 9  # the same on a phone


SAMPLE = Format(472, 340)
EVIDENCE = Format(300, 210, letters=11)


@dataclass(frozen=True)
class Picture:
    """A view of an image, in the image's own pixels, with shapes and labels."""

    name: str
    url: str  # of the pixels, "" without
    placed: tuple[float, float, float, float]  # x, y, width and height of these pixels
    view: tuple[float, float, float, float]  # x, y, width and height of what is shown
    width: int  # pixels of the page
    shapes: Sequence[Shape]  # the first on top
    wide_labels: Sequence[Label]
    narrow_labels: Sequence[Label]  # for a phone, with larger letters
    letters: float  # size of the labels' font in the image's pixels
    narrow_letters: float
    caption: str = ""


@dataclass
class Album:
    """Encodes pictures of a format until its bytes, which base64 makes 4/3 times as many, end."""

    format: Format
    left: int
    refused: int = field(default=0)

    def picture(
        self,
        name: str,
        pixels: np.ndarray | None,
        shapes: Sequence[Shape],
        caption: str = "",
        *,
        placed: tuple[float, float, float, float] | None = None,
        view: tuple[float, float, float, float] | None = None,
        largest: float = LARGEST_SCALE,
    ) -> Picture | None:
        """A picture of pixels (H,W,3), reduced; None where no bytes are left.

        Args:
            pixels: None for an image that cannot be read.
            placed: where they are in the image, if they are a part of it: x, y, width, height.
            view: what is shown; by default the pixels.
            largest: pixels of the page for one of the image.
        """
        if placed is None:
            placed = (0, 0, *pixels.shape[1::-1])
        view = view or placed
        scale = min(*np.divide([self.format.width, self.format.height], view[2:]), largest)
        data = b"" if pixels is None else encoded(reduced(pixels, scale * placed[2]))
        narrow = min(NARROW / view[2], scale)
        sizes = (self.format.letters / scale, self.format.narrow_letters / narrow)
        texts = [labels(shapes, view[:2], view[2:], size) for size in sizes]
        size = len(data) + SHAPE_BYTES * len(shapes) + LABEL_BYTES * sum(map(len, texts))
        if size > self.left:
            self.refused += 1
            return None
        self.left -= size
        url = data_url(data, "jpeg") if data else ""
        width = max(round(view[2] * scale), 1)
        letters = [round(size, 2) for size in sizes]
        return Picture(name, url, placed, view, width, shapes, *texts, *letters, caption)


def reduced(pixels: np.ndarray, width: float) -> np.ndarray:
    """The pixels (H,W,3), scaled down to a width if they are wider."""
    factor = min(1, width / pixels.shape[1])
    sides = [max(round(side * factor), 1) for side in pixels.shape[1::-1]]
    return cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA)


def encoded(pixels: np.ndarray) -> bytes:
    """The pixels (H,W,3) as JPEG, of lower quality where it would be large."""
    for quality in QUALITIES:
        _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= MOST_BYTES:
            break
    return data.tobytes()
