"""Boxes and their labels as SVG shows them."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.data.labels import RGB, ink, place_labels

MAX_TEXT = 80  # characters of a shape's text
MAX_NAME = 22  # of its label
LETTER, WIDE_LETTER = 0.62, 1.05  # width of letters by the font's size, in a font of equal widths
PLATE, BASELINE, MARGIN = 1.25, 0.92, 0.25  # of a label, by the font's size
FULL_WIDTH = ("W", "F")  # letters of East Asia, and emoji


@dataclass(frozen=True)
class Shape:
    """A rectangle: corner and sides in the image's own pixels, colours, text, and its label."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    outline: str  # black or white, which sets it off
    text: str
    kind: str  # "object", "missed", "ignored", "given" or "anchor"
    name: str = ""  # on the label; none without

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2."""
        return self.x, self.y, self.x + self.width, self.y + self.height


@dataclass(frozen=True)
class Label:
    """A plate with a text, in the image's own pixels."""

    x: float
    y: float
    width: float
    height: float
    text_x: float
    text_y: float
    text_width: float
    colour: str
    ink: str
    text: str


def rectangle(
    box: Sequence[float], rgb: RGB, text: str, kind: str = "anchor", name: str = ""
) -> Shape:
    """The shape of a box (4,)."""
    x1, y1, x2, y2 = (round(float(value), 1) for value in box)
    sides = round(x2 - x1, 1), round(y2 - y1, 1)
    return Shape(x1, y1, *sides, css(rgb), css(ink(rgb)), text[:MAX_TEXT], kind, short(name))


def short(name: str) -> str:
    """A name as a label has it."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def css(rgb: RGB) -> str:
    """A colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def labels(
    shapes: Sequence[Shape], corner: tuple[float, float], bounds: tuple[float, float], size: float
) -> list[Label]:
    """Labels of the shapes that have a name, as far as they do not overprint.

    Args:
        corner: the upper left one of what is shown, in the image's pixels; bounds: its sides.
        size: of the font, in the image's pixels.
    """
    named = [shape for shape in shapes if shape.name]
    boxes = np.array([shape.box for shape in named]).reshape(-1, 4) - np.tile(corner, 2)
    widths = [text_width(shape.name) * size for shape in named]
    sizes = [(width + 2 * MARGIN * size, PLATE * size) for width in widths]
    found = []
    for shape, width, sides, place in zip(named, widths, sizes, place_labels(boxes, sizes, bounds)):
        if place is not None:
            x, y = np.add(place, corner)
            text = (x + MARGIN * size, y + BASELINE * size, width)
            numbers = [round(float(v), 1) for v in (x, y, *sides, *text)]
            found.append(Label(*numbers, shape.colour, shape.outline, shape.name))
    return found


def text_width(text: str) -> float:
    """The width of a text by its font's size; the browser makes it as wide."""
    return sum(
        WIDE_LETTER if unicodedata.east_asian_width(letter) in FULL_WIDTH else LETTER
        for letter in text
        if not unicodedata.combining(letter)
    )
