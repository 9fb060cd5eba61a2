"""Draws boxes into images."""

import cv2
import numpy as np

from src.data.annotations import Record

FONT = cv2.FONT_HERSHEY_SIMPLEX
# blue, orange and grey, which colour-blind people can distinguish too
FOUND, MISSED, IGNORED = (30, 110, 220), (235, 95, 0), (130, 130, 130)
GOLDEN_ANGLE = 137.508  # degrees of hue between two labels: neighbours differ, no hue repeats


def fit_height(image: np.ndarray, height: int) -> np.ndarray:
    """The image (H,W,3) scaled to a height, with its aspect ratio."""
    width = max(round(image.shape[1] * height / image.shape[0]), 1)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def draw_objects(image: np.ndarray, record: Record, names: tuple[str, ...]) -> None:
    """Draws the record's objects into its image, which may have been scaled.

    Args:
        names: of the classes by label, without the background.
    """
    scale = image.shape[0] / record.height
    for box, label, crowd in zip(record.boxes, record.labels, record.crowd):
        text = f"{names[label]} (ignored)" if crowd else names[label]
        draw_box(image, box * scale, text, colour(label))


def draw_box(
    image: np.ndarray, box: np.ndarray, text: str, rgb: tuple[int, int, int], scale: float = 1.0
) -> None:
    """Draws a box with its text into the image; lines and letters are `scale` times as large."""
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), rgb, round(2 * scale))
    size, thickness, room = 0.4 * scale, max(round(scale), 1), round(4 * scale)
    (width, height), _ = cv2.getTextSize(text, FONT, size, thickness)
    top = max(y1 - height - room, 0)
    left = max(min(x1, image.shape[1] - width), 0)
    cv2.rectangle(image, (left, top), (left + width, top + height + room), rgb, -1)
    ink = (0, 0, 0) if sum(rgb) > 380 else (255, 255, 255)
    base = top + height + room // 4
    cv2.putText(image, text, (left, base), FONT, size, ink, thickness, cv2.LINE_AA)


def colour(label: int) -> tuple[int, int, int]:
    """The colour (r, g, b) of a label."""
    hue = (label * GOLDEN_ANGLE) % 360 / 2  # OpenCV counts hue to 180
    pixel = cv2.cvtColor(np.array([[[hue, 220, 230]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return tuple(int(v) for v in pixel)
