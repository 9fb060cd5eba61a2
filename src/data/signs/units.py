"""Signs of boxes in other units than pixels."""

import numpy as np

from src.data.signs.given_boxes import (
    AS_CORNERS,
    FEW,
    LEAST_OUT,
    NEARLY_ALL,
    SLACK,
    GivenBoxes,
    counted,
)
from src.data.signs.sign import Sign

PART = 0.1  # of the boxes, for an error: an object is hardly as small as a pixel
SHARE_LIMIT = 1.001  # shares as written, with rounding
PERCENT_LIMIT = 100.5
LARGER = 2  # times as large as a range of percent are the images at least, else these are pixels
FILLED = 0.8  # of the range of percent, which some boxes of a split reach at the right and below
NOT_STRAY = 0.97  # of the boxes; the others do not hide what these have in common


def shares(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 1, where pixels are expected."""
    if boxes.form.in_shares:
        return None
    given = boxes.as_given()
    inside = ((given >= 0) & (given <= SHARE_LIMIT)).all(axis=1) & given.any(axis=1)
    share = inside.mean()
    if share < FEW:
        return None
    orders = [name for name, read in AS_CORNERS.items() if shares_fit(read(given[inside]))]
    order = f", which fit as {' or as '.join(orders)}" if orders else ""
    return boxes.sign(
        "shares",
        inside,
        f"{counted(inside)} within 0 and 1",
        cause=f"Probably shares of the image's sides{order}",
        advice=f"expected are {boxes.layout} in pixels; multiply by the image's width and height",
        certain=share >= (NEARLY_ALL if inside.sum() < LEAST_OUT else PART),
    )


def shares_fit(corners: np.ndarray) -> bool:
    """Whether all boxes (B,4) have an area between 0 and 1."""
    has_area = (corners[:, 2:] > corners[:, :2]).all()
    return bool(has_area and (corners >= 1 - SHARE_LIMIT).all() and (corners <= SHARE_LIMIT).all())


def percent(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 100 in images that are larger, as Label Studio has them."""
    inside = ((boxes.corners >= -SLACK) & (boxes.corners <= PERCENT_LIMIT)).all(axis=1)
    if boxes.form.in_shares or inside.mean() < NOT_STRAY:
        return None
    limits = boxes.limits[inside]
    if (boxes.corners[inside, 2:].max(axis=0) < FILLED * PERCENT_LIMIT).any():
        return None
    if (np.median(limits, axis=0) < LARGER * PERCENT_LIMIT).any():
        return None
    width, height = limits.max(axis=0)
    return boxes.sign(
        "percent",
        inside,
        f"{counted(inside)} within 0 and 100, in images of up to {width} x {height} pixels",
        cause="Probably percent of the image's sides",
        advice="expected are pixels; multiply by the image's width and height, divide by 100",
        certain=boxes.are_many(),
    )
