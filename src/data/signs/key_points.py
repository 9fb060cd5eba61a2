"""Lines of YOLO's files that are read as outlines and look like boxes with key points."""

from collections import Counter
from collections.abc import Sequence

from src.data.signs.sign import Sign

SLACK = 0.02  # of the image's sides, that a key point may be outside of its box
LEAST, SURE = 5, 20  # lines, for a warning and for an error
NEARLY_ALL = 0.95  # of the lines
BOX_NUMBERS = 4


def has_key_points(values: Sequence[float]) -> bool:
    """Whether the numbers after a class are cx cy w h of a box in the image, and points in it."""
    cx, cy, w, h = values[:BOX_NUMBERS]
    box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    if min(box) < -SLACK or max(box) > 1 + SLACK:
        return False
    rest = values[BOX_NUMBERS:]
    return are_points(rest, 2, box) or are_points(rest, 3, box)


def are_points(rest: Sequence[float], numbers: int, box: Sequence[float]) -> bool:
    """Whether points of so many numbers, the third of visibility, are in the box or left out."""
    if len(rest) % numbers:
        return False
    points = [rest[start : start + numbers] for start in range(0, len(rest), numbers)]
    return all(
        (x == y == 0 or is_inside(x, y, box)) and (not seen or seen[0] in (0, 1, 2))
        for x, y, *seen in points
    )


def is_inside(x: float, y: float, box: Sequence[float]) -> bool:
    """Whether a point is in the box, or hardly outside."""
    x1, y1, x2, y2 = box
    return x1 - SLACK <= x <= x2 + SLACK and y1 - SLACK <= y <= y2 + SLACK


def key_points(kinds: Counter[tuple[int, bool]]) -> Sign | None:
    """The sign of outlines that are boxes with key points.

    Args:
        kinds: how many lines have so many numbers after the class and `has_key_points`.
    """
    total = kinds.total()
    if total < LEAST or len({length for length, _ in kinds}) > 1:
        return None
    length = next(iter(kinds))[0]
    if kinds[length, True] < NEARLY_ALL * total:
        return None
    rest = length - BOX_NUMBERS
    shapes = [f"[{rest // numbers}, {numbers}]" for numbers in (2, 3) if rest % numbers == 0]
    return Sign(
        "key_points",
        found=f"{total:,} lines have {length} numbers after the class, read as an outline; in "
        f"{kinds[length, True]:,} they fit as a box, cx cy w h, with key points in it",
        cause="Probably labels of poses",
        advice=f"add 'kpt_shape: {' or '.join(shapes)}' to data.yaml; then the boxes are read, "
        "and the key points are not used",
        certain=total >= SURE,
    )
