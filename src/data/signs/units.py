"""Signs of boxes in other units than pixels."""

import numpy as np

from src.data.signs.given_boxes import (
    CENTRES,
    CORNERS,
    FEW,
    LEAST_OUT,
    NEARLY_ALL,
    SIDES,
    SLACK,
    GivenBoxes,
    centred,
    counted,
    fits,
    from_sides,
)
from src.data.signs.sign import Sign

PART = 0.1  # of the boxes, for an error: an object is hardly as small as a pixel
SHARE_LIMIT = 1.001  # shares as written, with rounding
PERCENT_LIMIT, THOUSAND = 100.5, 1000
FILLED = 0.8  # of the range of percent, which some boxes of a split reach at the right and below
NOT_STRAY = 0.97  # of the boxes; the others do not hide what these have in common
MANY = 0.3  # of the boxes, which are out, for an error
# chance (natural logarithm) that all boxes are in a corner though they may be anywhere
UNLIKELY, IMPOSSIBLE = -5.0, -30.0
FEW_IMAGES = 3


def shares(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 1, where pixels are expected."""
    if boxes.form.in_shares:
        return None
    given = boxes.as_given()
    inside = ((given >= 0) & (given <= SHARE_LIMIT)).all(axis=1) & given.any(axis=1)
    share = inside.mean()
    if share < NEARLY_ALL and (sign := signed_shares(boxes)) is not None:
        return sign
    if share < FEW:
        return None
    readings = {
        SIDES: from_sides(given),
        "two corners": given,
        f"{CENTRES}, as in YOLO": centred(given),
    }
    orders = [name for name, read in readings.items() if shares_fit(read[inside])]
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


def signed_shares(boxes: GivenBoxes) -> Sign | None:
    """Boxes between -1 and 1, where pixels are expected."""
    given = boxes.as_given()
    longest = SHARE_LIMIT * np.array([1, 1, 2, 2] if boxes.layout != CORNERS else [1, 1, 1, 1])
    inside = (np.abs(given) <= longest).all(axis=1)
    if inside.mean() < NEARLY_ALL or (given < 0).any(axis=1).mean() < FEW:
        return None
    return boxes.sign(
        "shares",
        inside,
        f"{counted(inside)} within -1 and 1",
        cause="Probably shares of half the image's sides, from its centre",
        advice=f"expected are {boxes.layout} in pixels; multiply by half the width and height, and "
        "add these to x and y",
        certain=True,
    )


def percent(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 100 in images that are larger, as Label Studio has them."""
    inside = ((boxes.corners >= -SLACK) & (boxes.corners <= PERCENT_LIMIT)).all(axis=1)
    if boxes.form.in_shares or inside.mean() < NOT_STRAY:
        return None
    own = boxes.take(np.flatnonzero(inside))
    ends = own.corners[:, 2:].max(axis=0)
    chance = own.chance_in(np.minimum(PERCENT_LIMIT / own.limits, 1))
    if len(np.unique(own.image_ids)) < FEW_IMAGES or chance > UNLIKELY:
        return None
    if ends.max() < PERCENT_LIMIT / 2:
        return None
    fills = (ends >= FILLED * PERCENT_LIMIT).all()
    width, height = own.limits.max(axis=0)
    return boxes.sign(
        "percent",
        inside,
        f"{counted(inside)} within 0 and 100, in images of up to {width} x {height} pixels",
        cause="Probably percent of the image's sides",
        advice="expected are pixels; multiply by the image's width and height, divide by 100",
        certain=fills and chance < IMPOSSIBLE and own.are_many(),
    )


def thousandths(boxes: GivenBoxes) -> Sign | None:
    """Boxes between 0 and 1000 that leave their images, as some language models write them."""
    given, out = boxes.as_given(), boxes.out()
    inside = ((given >= 0) & (given <= THOUSAND + SLACK)).all(axis=1)
    if inside.mean() < NOT_STRAY or out.mean() < MANY or out.sum() < LEAST_OUT:
        return None
    readings = {CORNERS: given[inside], SIDES: from_sides(given[inside])}
    thousand = np.full((int(inside.sum()), 2), THOUSAND)
    names = [name for name, read in readings.items() if fits(read, thousand).all()]
    if not names or boxes.form.in_shares:
        return None
    if (readings[names[0]][:, 2:].max(axis=0) < FILLED * THOUSAND).any():
        return None
    return boxes.sign(
        "shares",
        out,
        f"{counted(inside)} within 0 and 1000, and {int(out.sum()):,} outside of the image",
        cause=f"Probably thousandths of the image's sides, as {' or as '.join(names)}",
        advice=f"expected are {boxes.layout} in pixels; multiply by the image's width and height, "
        "divide by 1000",
        certain=True,
    )
