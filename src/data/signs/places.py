"""Signs of boxes that lie beside their objects, by where they are in their images."""

import math

import numpy as np

from src.data.signs.given_boxes import (
    FEW,
    LEAST_BOXES,
    LEAST_OUT,
    NEARLY_ALL,
    SLACK,
    SURE_OUT,
    GivenBoxes,
    counted,
    fits,
)
from src.data.signs.sign import Sign

MANY_OUTSIDE = 0.2  # of the boxes, for an error
LEAST_OFFSET = 5  # boxes at one side of their images, for a warning
FULL = 0.99  # of an image's sides, for a box of all of it
UNLIKELY = -5.0  # logarithm of the chance that boxes, which may be anywhere, are in a corner
CORNER = 0.75  # of width and height, which nearly no split keeps to
MANY_BEYOND = 8  # boxes that leave their images at one side, and hardly any at the other
BEYOND = 0.05  # of a box's side that is outside, beside what rounding brings
LEANING = 0.5  # margin at the left or above, as a share of the other; more is nearly centred


def outside(boxes: GivenBoxes) -> Sign | None:
    """Boxes without area, or whose centre is outside of the image."""
    middle = (boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2
    in_image = ((middle >= -SLACK) & (middle <= boxes.limits + SLACK)).all(axis=1)
    out = ~in_image | (boxes.corners[:, 2:] <= boxes.corners[:, :2]).any(axis=1)
    if out.mean() < FEW or out.sum() < 2:
        return None
    if (sign := neighbours(boxes)) is not None:
        return sign
    empty = (boxes.corners[:, 2:] <= boxes.corners[:, :2]).any(axis=1)
    if (empty & in_image).sum() >= NEARLY_ALL * out.sum():
        return without_area(boxes, empty)
    return boxes.sign(
        "outside",
        out,
        f"{counted(out)} without area or have their centre outside of the image",
        cause="Probably the images were resized or cropped after they were annotated, or boxes "
        "belong to other images",
        advice="scale the boxes with the images, and check some on the page that "
        "src.data.validate writes",
        certain=out.mean() >= MANY_OUTSIDE and out.sum() >= LEAST_OUT,
    )


def without_area(boxes: GivenBoxes, empty: np.ndarray) -> Sign:
    """The sign of boxes (B,) bool without area, which are inside their images."""
    return boxes.sign(
        "outside",
        empty,
        f"{counted(empty)} without area",
        cause=f"Probably points or placeholders, or numbers in another order than {boxes.layout}",
        advice=f"write {boxes.layout}; leave out what is no object",
        certain=empty.mean() >= MANY_OUTSIDE and empty.sum() >= LEAST_OUT,
    )


def neighbours(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images, and all fit those before, or after, in the split's order."""
    out = boxes.out()
    for name, limits in (("before", boxes.before), ("after", boxes.after)):
        if limits is None or not fits(boxes.corners, limits).all() or out.sum() < LEAST_OUT:
            continue
        return boxes.sign(
            "outside",
            out,
            f"{counted(out)} outside of the image or without area, none if each belongs to the "
            f"image {name} its own",
            cause="Probably images and boxes were numbered apart, and one was left out or added",
            advice="write each box for its own image, and check some on the page that "
            "src.data.validate writes",
            certain=boxes.are_many() and out.sum() >= SURE_OUT,
        )
    return None


def offset(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images at one side alone, and fit if all are moved away from it."""
    low = boxes.corners[:, :2].min(axis=0)  # the least gap at the left and above
    beyond = boxes.corners[:, 2:] - boxes.limits  # (B,2)
    high = -beyond.max(axis=0)  # the least gap at the right and below
    out = (beyond > SLACK).any(axis=1) | (boxes.corners[:, :2] < -SLACK).any(axis=1)
    if (
        not boxes.are_many()
        or out.sum() < LEAST_OFFSET
        or out.mean() < FEW
        or (low + high < 0).any()
    ):
        return None
    moves = np.where(high < -SLACK, high, np.where(low < -SLACK, -low, 0))
    numbers = " and ".join(f"{move:+.6g}" for move in moves)
    return boxes.sign(
        "offset",
        out,
        f"{counted(out)} partly outside of the image, all at the same side, and none if all are "
        f"moved by {numbers} pixels in x and y",
        cause="Probably all are moved, as where images were cropped, or had a margin, when they "
        "were annotated",
        advice="move them back, and check some on the page that src.data.validate writes",
    )


def one_side(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images at the left and above, or at the right and below, alone."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    least = np.maximum(SLACK, BEYOND * sides)  # (B,2) pixels
    low = (-boxes.corners[:, :2] > least).any(axis=1)
    high = (boxes.corners[:, 2:] - boxes.limits > least).any(axis=1)
    where, out, others = "at the left or above", low, high
    if high.sum() > low.sum():
        where, out, others = "at the right or below", high, low
    if out.sum() < MANY_BEYOND or out.mean() < FEW or others.sum() > FEW * out.sum():
        return None
    return boxes.sign(
        "one_side",
        out,
        f"{counted(out)} partly outside of the image {where}, and {int(others.sum()):,} at the "
        "other sides",
        cause="Probably x and y are of another point of the box than expected, or boxes are too "
        "large, as of a larger image: cut-off objects leave images at all sides",
        advice=f"expected are {boxes.layout}; check some on the page that src.data.validate writes",
    )


def upper_left(boxes: GivenBoxes) -> Sign | None:
    """Boxes that keep to the upper left part of all images."""
    parts = (boxes.corners[:, 2:] / boxes.limits).max(axis=0)  # of width and height
    if not boxes.are_many() or (parts > CORNER).any() or (parts <= 0).any():
        return None
    margins = (boxes.corners[:, :2] / boxes.limits).min(axis=0)  # left and above of all boxes
    if boxes.chance_in(parts) > UNLIKELY or (margins > LEANING * (1 - parts)).any():
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
