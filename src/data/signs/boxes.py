"""Signs of boxes as a file has them: in other units, by other numbers, or beside their objects."""

import math
from collections.abc import Sequence

import numpy as np

from src.data.signs.given_boxes import (
    AS_CORNERS,
    CORNERS,
    FEW,
    LEAST_BOXES,
    LEAST_OUT,
    MANY,
    NEARLY_ALL,
    SLACK,
    GivenBoxes,
    counted,
    fits,
)
from src.data.signs.sign import Sign, those_found

PART = 0.1  # share of the boxes within 0 and 1, for an error: hardly any object is a pixel large
SHARE_LIMIT = 1.001  # largest share, with rounding
PERCENT_LIMIT = 100.5  # largest percentage, with rounding
LARGER = 2  # least sides of images, in PERCENT_LIMIT; in smaller images the numbers may be pixels
FILLED = 0.8  # share of the range of percent that boxes reach at the right and below
NOT_STRAY = 0.97  # share of the boxes that are within the range; a few stray ones are ignored
LEAST_FEW = 4  # boxes that are out, for a warning where less than FEW are
SURE_OUT = 8  # boxes that are out, for an error where another reading fits all: 1 in 2 ** 8
# boxes that another reading fits neither, as a share of those that are out: at most, for a warning
# and for an error
STRAY, FEW_STRAY = 0.2, 0.1
Y_FIRST = "y before x"
MANY_OUTSIDE = 0.2  # share of the boxes, for an error
FULL = 0.99  # share of an image's sides that a box of the whole image has
CORNER = 0.7  # share of width and height that the boxes of nearly no sound split keep to
LEANING = 0.5  # most margin at the left or above, as a share of the opposite one


def box_sign(boxes: GivenBoxes) -> Sign | None:
    """The sign that explains the boxes best, if there is one: the first certain one, if any is."""
    boxes = boxes.take(np.flatnonzero(np.isfinite(boxes.corners).all(axis=1)))
    if len(boxes.corners) == 0:
        return None
    found = those_found(
        shares(boxes),
        percent(boxes),
        other_reading(boxes) or outside(boxes),
        upper_left(boxes),
        whole_image(boxes),
    )
    return min(found, key=lambda sign: not sign.certain, default=None)


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


def other_reading(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images as the format has them, and fit if read in another way.

    A few stray boxes, which fit neither way, do not hide that.
    """
    out = boxes.out()
    if out.sum() < 2:
        return None
    misfits = {name: boxes.misfits(read) for name, read in readings(boxes).items()}
    numbers = {name: int(misfit.sum()) for name, misfit in misfits.items()}
    least = min(numbers.values())
    fits_all_of_many = least == 0 and boxes.are_many()
    if out.sum() < (LEAST_FEW if fits_all_of_many else FEW * len(out)):
        return None
    if least > STRAY * out.sum():
        return None
    names = [name for name, number in numbers.items() if number == least]
    # boxes with y before x fit exactly where those of images with exchanged sides do
    sides = f"{Y_FIRST}, or width and height of its images exchanged"
    is_most = out.mean() >= MANY and out.sum() >= LEAST_OUT and least <= FEW_STRAY * out.sum()
    return boxes.sign(
        "swapped_axes" if names[0] == Y_FIRST else "box_format",
        out,
        f"{counted(out)} outside of the image or without area if read as {boxes.layout}, "
        f"{f'only {least:,}' if least else 'none'} if read as {' or as '.join(names)}",
        example=out & ~misfits[names[0]],
        cause=f"The file probably has {' or '.join(names).replace(Y_FIRST, sides)}",
        advice=f"write {boxes.layout}"
        + (", and the images' own width and height" if Y_FIRST in names else ""),
        certain=is_most or (fits_all_of_many and out.sum() >= SURE_OUT),
    )


def readings(boxes: GivenBoxes) -> dict[str, np.ndarray]:
    """Corners (B,4), in the file's units, of the boxes as they may be meant, by what that is."""
    given = boxes.as_given()
    y_first = given[:, [1, 0, 3, 2]]
    found = {layout: as_corners(given) for layout, as_corners in AS_CORNERS.items()}
    found["x1, x2, y1, y2"] = given[:, [0, 2, 1, 3]]
    found[Y_FIRST] = AS_CORNERS[boxes.layout](y_first)
    if boxes.layout != CORNERS:
        found["two corners, y1, x1, y2, x2"] = y_first
    del found[boxes.layout]
    return found


def outside(boxes: GivenBoxes) -> Sign | None:
    """Boxes without area, or whose centre is outside of the image."""
    middle = (boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2
    in_image = ((middle >= -SLACK) & (middle <= boxes.limits + SLACK)).all(axis=1)
    out = ~in_image | (boxes.corners[:, 2:] <= boxes.corners[:, :2]).any(axis=1)
    if out.mean() < FEW or out.sum() < 2:
        return None
    return boxes.sign(
        "outside",
        out,
        f"{counted(out)} without area or have their centre outside of the image",
        cause="Probably the images were resized or cropped after they were annotated, boxes belong "
        f"to other images, or numbers are in other units or another order than {boxes.layout}",
        advice="check some on the page that src.data.validate writes",
        certain=out.mean() >= MANY_OUTSIDE and out.sum() >= LEAST_OUT,
    )


def upper_left(boxes: GivenBoxes) -> Sign | None:
    """Boxes that keep to the upper left part of all images."""
    parts = (boxes.corners[:, 2:] / boxes.limits).max(axis=0)  # of width and height
    if not boxes.are_many() or (parts > CORNER).any() or (parts <= 0).any():
        return None
    margins = (boxes.corners[:, :2] / boxes.limits).min(axis=0)  # left and above of all boxes
    if (margins > LEANING * (1 - parts)).any():
        return None
    every = np.ones(len(boxes.corners), bool)
    return boxes.sign(
        "upper_left",
        every,
        f"{counted(every)} in the left {math.ceil(parts[0] * 100)} % and the upper "
        f"{math.ceil(parts[1] * 100)} % of their images",
        cause="Probably the boxes are for smaller images, or in other units",
        advice="scale the boxes to the images, and check some on the page that "
        "src.data.validate writes",
    )


def whole_image(boxes: GivenBoxes) -> Sign | None:
    """Boxes that are as large as their images."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    whole = (sides >= FULL * boxes.limits).all(axis=1)
    if len(whole) < LEAST_BOXES or whole.mean() < NEARLY_ALL:
        return None
    return boxes.sign(
        "whole_image",
        whole,
        f"{counted(whole)} as large as the image",
        cause="Probably labels of whole images, without boxes",
        advice="a detector learns nothing from them; annotate the objects",
    )


def turned_images(
    corners: np.ndarray, owners: np.ndarray, sizes: np.ndarray, image_ids: Sequence[int]
) -> tuple[int, ...]:
    """Ids of the images whose boxes fit only if width and height are exchanged.

    Args:
        corners: (B,4); owners: (B,) index of each box's image; sizes: (I,2).
    """
    images = len(sizes)
    out = ~fits(corners, sizes[owners])
    if not out.any():
        return ()
    out_turned = ~fits(corners, sizes[owners][:, ::-1])
    has_out = np.bincount(owners[out], minlength=images) > 0
    fit_turned = np.bincount(owners[out_turned], minlength=images) == 0
    return tuple(np.asarray(image_ids)[has_out & fit_turned].tolist())
