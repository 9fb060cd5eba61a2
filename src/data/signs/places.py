"""Signs of boxes that lie beside their objects, by where they are in their images."""

import math

import numpy as np

from src.data.signs.given_boxes import (
    FEW,
    LEAST_BOXES,
    LEAST_OUT,
    NEARLY_ALL,
    SLACK,
    GivenBoxes,
    counted,
)
from src.data.signs.sign import Sign

MANY_OUTSIDE = 0.2  # of the boxes, for an error
FULL = 0.99  # of an image's sides, for a box of all of it
CORNER = 0.7  # of width and height, which the boxes of nearly no split keep to
LEANING = 0.5  # margin at the left or above, as a share of the other; more is nearly centred


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
