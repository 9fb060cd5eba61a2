"""Where the labels of boxes go in a picture, and their ink; for pixels and for pages alike."""

from collections.abc import Sequence

import numpy as np

RGB = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
# relative luminance whose contrast to black and to white is the same, 4.6 (WCAG 2.1)
MIDDLE_LUMINANCE = 0.179


def ink(rgb: RGB) -> RGB:
    """Black or white, whichever is read better on a colour; also the outline that sets it off."""
    return BLACK if luminance(rgb) > MIDDLE_LUMINANCE else WHITE


def luminance(rgb: RGB) -> float:
    """The relative luminance of an sRGB colour, 0 to 1 (WCAG 2.1)."""
    parts = np.array(rgb) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def place_labels(
    boxes: np.ndarray, sizes: Sequence[tuple[float, float]], bounds: tuple[float, float]
) -> list[tuple[float, float] | None]:
    """The upper left corner of each box's label; None where it would overprint an earlier one.

    A label is at its box, outside of it if there is room.

    Args:
        boxes: (N,4) x1, y1, x2, y2, the most important first.
        sizes: width and height of each label.
        bounds: width and height of the picture, which labels do not leave.
    """
    taken = np.zeros((0, 4))
    places: list[tuple[float, float] | None] = []
    for box, size in zip(boxes, sizes):
        corners = candidates(box, size, bounds)  # (C,2)
        labels = np.hstack([corners, corners + size])[:, None]  # (C,1,4)
        apart = (labels[..., :2] >= taken[:, 2:]) | (labels[..., 2:] <= taken[:, :2])
        free = np.flatnonzero(apart.any(axis=2).all(axis=1))
        if len(free) == 0:
            places.append(None)
            continue
        taken = np.vstack([taken, labels[free[0]]])
        places.append(tuple(corners[free[0]].tolist()))
    return places


def candidates(
    box: np.ndarray, size: tuple[float, float], bounds: tuple[float, float]
) -> np.ndarray:
    """Corners (C,2) where a box's label may be, the best first."""
    (x1, y1, x2, y2), (width, height) = box, size
    right, below = x2 - width, y2 - height
    corners = [
        (x1, y1 - height), (x1, y2), (right, y1 - height), (right, y2),  # above and below
        (x2, y1), (x1 - width, y1), (x2, below), (x1 - width, below),  # beside
        (x1, y1), (x1, below), (right, y1), (right, below),  # inside
    ]  # fmt: skip
    room = np.maximum(np.array(bounds, float) - size, 0)
    return np.clip(corners, 0, room)
