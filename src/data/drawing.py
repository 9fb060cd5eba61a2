"""Draws boxes with labels into images."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from src.data.fonts import drawable, runs
from src.data.labels import RGB, ink, place_labels

LETTER_SIZE = 12  # pixels of the font at scale 1
PLATE = 1.3  # height of a label by its font's size: some letters reach far up and down
BASELINE = 1.0  # of its letters, below its upper edge, by the font's size
MARGIN = 0.25  # at the left and right of its text, by the font's size
LINE, OUTLINE = 2, 1  # pixels of a box's line, and of the outline at either side of it
# blue, orange and grey, which colour-blind people can distinguish too
FOUND, MISSED, IGNORED = (30, 110, 220), (235, 95, 0), (130, 130, 130)
GOLDEN_ANGLE = 137.508  # degrees of hue between two labels: neighbours differ, no hue repeats


@dataclass(frozen=True)
class Mark:
    """A box (4,) x1, y1, x2, y2 in pixels, its text and its colour."""

    box: np.ndarray
    text: str
    rgb: RGB


def fit_height(image: np.ndarray, height: int) -> np.ndarray:
    """The image (H,W,3) scaled to a height, with its aspect ratio."""
    width = max(round(image.shape[1] * height / image.shape[0]), 1)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def draw_marks(image: np.ndarray, marks: Sequence[Mark], scale: float = 1.0) -> None:
    """Draws boxes into the image (H,W,3), the first on top, and labels that do not overprint.

    Lines and letters are `scale` times as large. A label for which there is no room is left out,
    a later box's first.
    """
    for mark in reversed(marks):
        draw_box(image, mark, scale)
    size = max(round(LETTER_SIZE * scale), 1)
    texts = [drawable(mark.text) for mark in marks]
    sizes = [(text_width(text, size), round(PLATE * size)) for text in texts]
    boxes = np.array([mark.box for mark in marks]).reshape(-1, 4)
    places = place_labels(boxes, sizes, (image.shape[1], image.shape[0]))
    for mark, text, sides, place in zip(marks, texts, sizes, places):
        if place is not None:
            draw_label(image, place, label(text, sides, size, mark.rgb))


def draw_box(image: np.ndarray, mark: Mark, scale: float) -> None:
    """Draws a box without its label."""
    x1, y1, x2, y2 = (round(float(v)) for v in mark.box)
    line = round(LINE * scale)
    for rgb, width in ((ink(mark.rgb), line + 2 * OUTLINE), (mark.rgb, line)):
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), rgb, width)


def draw_label(image: np.ndarray, corner: tuple[float, float], picture: np.ndarray) -> None:
    """Puts a label (h,w,3) into the image, as far as it has room."""
    left, top = (round(v) for v in corner)
    place = image[top : top + picture.shape[0], left : left + picture.shape[1]]
    place[:] = picture[: place.shape[0], : place.shape[1]]


@functools.lru_cache(maxsize=256)  # frames of a video repeat them
def label(text: str, sides: tuple[int, int], size: int, rgb: RGB) -> np.ndarray:
    """The picture (h,w,3) of a label with these sides, width and height."""
    picture = Image.new("RGB", sides, rgb)
    pen, x = ImageDraw.Draw(picture), MARGIN * size
    for path, part in runs(text):
        pen.text((x, BASELINE * size), part, font=font(path, size), fill=ink(rgb), anchor="ls")
        x += font(path, size).getlength(part)
    return np.asarray(picture)


def text_width(text: str, size: int) -> int:
    """The width of a label, in pixels."""
    length = sum(font(path, size).getlength(part) for path, part in runs(text))
    return max(round(length + 2 * MARGIN * size), 1)


@functools.cache
def font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A font by its file."""
    return ImageFont.truetype(path, size)


def colour(label: int) -> RGB:
    """The colour (r, g, b) of a label."""
    hue = (label * GOLDEN_ANGLE) % 360 / 2  # OpenCV counts hue to 180
    pixel = cv2.cvtColor(np.array([[[hue, 220, 230]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return tuple(int(v) for v in pixel)
