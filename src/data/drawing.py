"""Draws boxes into images."""

import math

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT = cv2.FONT_HERSHEY_SIMPLEX
LETTER_HEIGHT = 13  # pixels of other letters at scale 1, as large as FONT's
# blue, orange and grey, which colour-blind people can distinguish too
FOUND, MISSED, IGNORED = (30, 110, 220), (235, 95, 0), (130, 130, 130)
GOLDEN_ANGLE = 137.508  # degrees of hue between two labels: neighbours differ, no hue repeats


def fit_height(image: np.ndarray, height: int) -> np.ndarray:
    """The image (H,W,3) scaled to a height, with its aspect ratio."""
    width = max(round(image.shape[1] * height / image.shape[0]), 1)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def draw_box(
    image: np.ndarray, box: np.ndarray, text: str, rgb: tuple[int, int, int], scale: float = 1.0
) -> None:
    """Draws a box with its text into the image; lines and letters are `scale` times as large."""
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), rgb, round(2 * scale))
    ink = (0, 0, 0) if sum(rgb) > 380 else (255, 255, 255)
    if not text.isascii():
        draw_label(image, (x1, y1), text, rgb, ink, scale)
        return
    size, thickness, room = 0.4 * scale, max(round(scale), 1), round(4 * scale)
    (width, height), _ = cv2.getTextSize(text, FONT, size, thickness)
    top = max(y1 - height - room, 0)
    left = max(min(x1, image.shape[1] - width), 0)
    cv2.rectangle(image, (left, top), (left + width, top + height + room), rgb, -1)
    base = top + height + room // 4
    cv2.putText(image, text, (left, base), FONT, size, ink, thickness, cv2.LINE_AA)


def draw_label(
    image: np.ndarray, corner: tuple[int, int], text: str, rgb: tuple, ink: tuple, scale: float
) -> None:
    """Draws text on a ground of its own above a box's upper left corner; OpenCV has ASCII alone."""
    from src.data.fonts import drawable, find_font  # imports matplotlib, which few names need

    text = drawable(text)
    font = ImageFont.truetype(find_font(text), max(round(LETTER_HEIGHT * scale), 1))
    _, _, width, height = (math.ceil(side) for side in font.getbbox(text))
    top = max(corner[1] - height, 0)
    left = max(min(corner[0], image.shape[1] - width), 0)
    label = Image.new("RGB", (width, height), rgb)
    ImageDraw.Draw(label).text((0, 0), text, font=font, fill=ink)
    place = image[top : top + height, left : left + width]
    place[:] = np.asarray(label)[: place.shape[0], : place.shape[1]]


def colour(label: int) -> tuple[int, int, int]:
    """The colour (r, g, b) of a label."""
    hue = (label * GOLDEN_ANGLE) % 360 / 2  # OpenCV counts hue to 180
    pixel = cv2.cvtColor(np.array([[[hue, 220, 230]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return tuple(int(v) for v in pixel)
