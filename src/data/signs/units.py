"""Signs of boxes in other units than pixels: shares or percent of the sides."""

import numpy as np

from src.data.signs.given_boxes import (
    FEW,
    IMPOSSIBLE,
    NEARLY_ALL,
    SLACK,
    UNLIKELY,
    GivenBoxes,
    centred,
    counted,
    from_sides,
    has_many,
    in_corner,
)
from src.data.signs.sign import Sign, first_ids

SHARE_LIMIT = 1.001  # shares as written, with rounding
PERCENT_LIMIT = 100.5
NOT_STRAY = 0.97  # of the boxes; the others do not hide what these have in common
FEW_IMAGES = 3


def shares(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 1, where pixels are expected."""
    given = boxes.as_given()
    inside = ((given >= 0) & (given <= SHARE_LIMIT)).all(axis=1)
    share = inside.mean()
    if share < FEW:
        return None
    ones = np.ones((len(given), 2))
    readings = {
        "x, y, width and height": from_sides(given),
        "two corners": given,
        "centre, width and height, as in YOLO": centred(given),
    }
    orders = [name for name, read in readings.items() if shares_fit(read[inside], ones[inside])]
    order = f", which fit as {' or as '.join(orders)}" if orders else ""
    expected = "x, y, width and height" if boxes.has_sides else "two corners"
    return Sign(
        "shares",
        found=f"{counted(inside)} within 0 and 1 ({boxes.example(int(inside.argmax()))})",
        cause=f"Probably shares of the image's sides{order}",
        advice=f"expected are {expected} in pixels; multiply by the image's width and height",
        certain=bool(share >= NEARLY_ALL),
        image_ids=first_ids(boxes.image_ids[inside]),
    )


def shares_fit(corners: np.ndarray, ones: np.ndarray) -> bool:
    """Whether all boxes (B,4) have an area between 0 and 1."""
    has_area = (corners[:, 2:] > corners[:, :2]).all()
    return bool(has_area and (corners >= 1 - SHARE_LIMIT).all() and (corners <= SHARE_LIMIT).all())


def percent(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 100 in images that are larger, as Label Studio has them."""
    inside = ((boxes.corners >= -SLACK) & (boxes.corners <= PERCENT_LIMIT)).all(axis=1)
    if inside.mean() < NOT_STRAY:
        return None
    boxes = boxes.take(np.flatnonzero(inside))
    corners = boxes.corners
    chance = in_corner(boxes, np.minimum(PERCENT_LIMIT / boxes.limits, 1))
    if len(np.unique(boxes.image_ids)) < FEW_IMAGES or chance > UNLIKELY:
        return None
    if corners[:, 2:].max() < PERCENT_LIMIT / 2:
        return None
    fills = (corners[:, 2:].max(axis=0) >= 0.8 * PERCENT_LIMIT).all()
    certain = fills and chance < IMPOSSIBLE and has_many(boxes)
    return Sign(
        "percent",
        found=f"{counted(inside)} within 0 and 100, in images of up to "
        f"{boxes.limits[:, 0].max()} x {boxes.limits[:, 1].max()} pixels ({boxes.example(0)})",
        cause="Probably percent of the image's sides",
        advice="expected are pixels; multiply by the image's width and height, divide by 100",
        certain=bool(certain),
        image_ids=first_ids(boxes.image_ids),
    )
