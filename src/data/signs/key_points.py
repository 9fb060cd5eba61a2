"""The sign of YOLO's pose labels that are read as outlines, because data.yaml has no kpt_shape."""

from collections import Counter
from collections.abc import Sequence

from src.data.signs.sign import Sign

SLACK = 0.02  # of the image's sides, that a key point may be outside of its box
CORNERS = 8  # numbers of an outline with four points, which rotated boxes have
LEAST = 20  # lines
NEARLY_ALL = 0.95  # of the lines
BOX_NUMBERS = 4


def fits_as_pose(values: Sequence[float]) -> bool:
    """Whether the numbers after a class are cx cy w h of a box in the image, and points in it."""
    cx, cy, w, h = values[:BOX_NUMBERS]
    return all(
        size / 2 - SLACK <= centre <= 1 - size / 2 + SLACK
        and all(abs(value - centre) <= size / 2 + SLACK for value in values[start::2])
        for centre, size, start in ((cx, w, BOX_NUMBERS), (cy, h, BOX_NUMBERS + 1))
    )


def key_points(kinds: Counter[tuple[int, bool]]) -> Sign | None:
    """The sign of outlines that all have as many points, and fit as boxes with key points.

    `kinds` counts the lines that have so many numbers after the class, and `fits_as_pose`.
    """
    total, lengths = kinds.total(), {length for length, _ in kinds}
    if total < LEAST or len(lengths) > 1 or max(lengths) <= CORNERS:
        return None
    (length,) = lengths
    if kinds[length, True] < NEARLY_ALL * total:
        return None
    points = (length - BOX_NUMBERS) // 2
    return Sign(
        "key_points",
        found=f"all {total:,} outlines have {length} numbers, and nearly all of these fit as a box "
        f"cx cy w h with {points} points in it",
        cause="Probably labels of poses",
        advice=f"add 'kpt_shape: [{points}, 2]' to data.yaml; then the boxes are used, and the key "
        "points are ignored",
        certain=True,
    )
