"""Signs of boxes by where they lie in their images."""

import math

from src.data.signs.given_boxes import (
    FEW,
    LEAST_BOXES,
    LEAST_OUT,
    MANY,
    NEARLY_ALL,
    SLACK,
    UNLIKELY,
    GivenBoxes,
    counted,
    has_many,
    in_corner,
)
from src.data.signs.sign import Sign, first_ids

FULL = 0.99  # of an image's sides, for a box of all of it
CORNER = 0.75  # of width and height, which nearly no split keeps to


def outside(boxes: GivenBoxes) -> Sign | None:
    """Boxes without area, or whose centre is outside of the image."""
    middle = (boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2
    in_image = ((middle >= -SLACK) & (middle <= boxes.limits + SLACK)).all(axis=1)
    out = ~in_image | (boxes.corners[:, 2:] <= boxes.corners[:, :2]).any(axis=1)
    if out.mean() < FEW or out.sum() < 2:
        return None
    return Sign(
        "outside",
        found=f"{counted(out)} without area or have their centre outside of the image "
        f"({boxes.example(int(out.argmax()))})",
        cause="Probably the images were resized or cropped after they were annotated, or boxes "
        "belong to other images",
        advice="scale the boxes with the images, and check some on the page that "
        "src.data.validate writes",
        certain=bool(out.mean() >= MANY and out.sum() >= LEAST_OUT),
        image_ids=first_ids(boxes.image_ids[out]),
    )


def upper_left(boxes: GivenBoxes) -> Sign | None:
    """Boxes that keep to the upper left part of all images."""
    parts = (boxes.corners[:, 2:] / boxes.limits).max(axis=0)  # of width and height
    if not has_many(boxes) or (parts > CORNER).any() or (parts <= 0).any():
        return None
    if in_corner(boxes, parts) > UNLIKELY:
        return None
    return Sign(
        "upper_left",
        found=f"all {len(boxes.corners):,} boxes are in the left {math.ceil(parts[0] * 100)} % "
        f"and the upper {math.ceil(parts[1] * 100)} % of their images ({boxes.example(0)})",
        cause="Probably the boxes are for smaller images, or in other units",
        advice="scale the boxes to the images, and check some on the page that "
        "src.data.validate writes",
        image_ids=first_ids(boxes.image_ids),
    )


def whole_image(boxes: GivenBoxes) -> Sign | None:
    """Boxes that are as large as their images."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    whole = (sides >= FULL * boxes.limits).all(axis=1)
    if len(whole) < LEAST_BOXES or whole.mean() < NEARLY_ALL:
        return None
    return Sign(
        "whole_image",
        found=f"{counted(whole)} as large as the image ({boxes.example(int(whole.argmax()))})",
        cause="Probably labels of whole images, without boxes",
        advice="a detector learns nothing from them; annotate the objects",
        image_ids=first_ids(boxes.image_ids[whole]),
    )
