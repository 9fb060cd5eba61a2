"""Signs of boxes in other units, or by other numbers, than the format has."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from src.data.signs.sign import Sign, first_ids

SLACK = 1.0  # pixels that a box may be outside: VOC's first pixel, rounding
FEW, MANY = 0.05, 0.3  # shares of boxes that are out, for a warning and for an error
LEAST_OUT = 3  # boxes that are out, for an error
NEARLY_ALL = 0.9  # of the boxes
# boxes that fit no way, as a share of those that are out, for a warning and for an error
STRAY, FEW_STRAY = 0.2, 0.1
LEAST_MIXED = 5  # boxes of either kind, for a split that mixes two
FULL = 0.99  # of an image's sides, for a box of all of it
SIDES, CORNERS = "x, y, width and height", "two corners, x1, y1, x2, y2"
SHARE_LIMIT = 1.001  # shares as written, with rounding
PERCENT_LIMIT = 100.5
NOT_STRAY = 0.97  # of the boxes; the others do not hide what these have in common
# chance (natural logarithm) that all boxes are in a corner though they may be anywhere
UNLIKELY, IMPOSSIBLE = -5.0, -30.0
CORNER = 0.75  # of width and height, which nearly no split keeps to
FEW_IMAGES = 3
LEAST_BOXES, LEAST_IMAGES = 20, 5  # for what needs a larger sample


@dataclass(frozen=True)
class GivenBoxes:
    """The B boxes of a split, not yet clipped."""

    corners: np.ndarray  # (B,4) float64 x1, y1, x2, y2
    limits: np.ndarray  # (B,2) width and height of each box's image
    image_ids: np.ndarray  # (B,)
    where: Callable[[int], str]  # names a box
    has_sides: bool  # whether the file has x, y, width and height; else two corners
    first_pixel: int = 0  # what the file counts pixels from

    def as_given(self) -> np.ndarray:
        """(B,4) the four numbers in the file."""
        given = self.corners.copy()
        if self.has_sides:
            given[:, 2:] -= given[:, :2]
        given[:, :2] += self.first_pixel
        return given

    def example(self, index: int) -> str:
        """A box as a sign shows it."""
        numbers = ", ".join(f"{value:.6g}" for value in self.as_given()[index])
        return f"{self.where(index)}: {numbers}"

    def take(self, rows: np.ndarray) -> "GivenBoxes":
        """The boxes `rows` alone."""
        return GivenBoxes(
            self.corners[rows],
            self.limits[rows],
            self.image_ids[rows],
            lambda index: self.where(rows[index]),
            self.has_sides,
            self.first_pixel,
        )


def box_signs(boxes: GivenBoxes) -> tuple[Sign, ...]:
    """The first sign that explains the boxes best, if there is one."""
    boxes = boxes.take(np.flatnonzero(np.isfinite(boxes.corners).all(axis=1)))
    if len(boxes.corners) == 0:
        return ()
    for find in (shares, percent, other_reading, mixed, outside, upper_left, whole_image):
        if (sign := find(boxes)) is not None:
            return (sign,)
    return ()


def fits(corners: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(B,) bool: whether boxes (B,4) have an area and are inside of limits (B,2)."""
    has_area = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    return has_area & (corners >= -SLACK).all(axis=1) & (corners[:, 2:] <= limits + SLACK).all(1)


def centred(numbers: np.ndarray) -> np.ndarray:
    """Corners (B,4) of boxes by centre, width and height."""
    half = numbers[:, 2:] / 2
    return np.hstack([numbers[:, :2] - half, numbers[:, :2] + half])


def from_sides(numbers: np.ndarray) -> np.ndarray:
    """Corners (B,4) of boxes by x, y, width and height."""
    return np.hstack([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]])


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


def in_corner(boxes: GivenBoxes, parts: np.ndarray) -> float:
    """Logarithm of the chance that boxes are within parts (B,2) or (2,) of width and height.

    Of an image two boxes count at most: the others may be where they are.
    """
    logs = np.log(np.broadcast_to(parts, boxes.limits.shape).prod(axis=1))
    _, image, counts = np.unique(boxes.image_ids, return_inverse=True, return_counts=True)
    return float((logs * np.minimum(2 / counts, 1)[image]).sum())


def has_many(boxes: GivenBoxes) -> bool:
    """Whether there are enough boxes and images for what a small split may have by chance."""
    images = len(np.unique(boxes.image_ids))
    return len(boxes.corners) >= LEAST_BOXES and images >= LEAST_IMAGES


def other_reading(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images as the format has them, and fit if read in another way.

    A few stray boxes, which fit neither way, do not hide that.
    """
    given, limits = boxes.as_given(), boxes.limits
    out = ~fits(boxes.corners, limits)
    if out.mean() < FEW or out.sum() < 2:
        return None
    others = {
        CORNERS: given,
        SIDES: from_sides(given),
        "x1, x2, y1, y2": given[:, [0, 2, 1, 3]],
        "centre, width and height": centred(given),
        "y before x": boxes.corners[:, [1, 0, 3, 2]],
    }
    misfits = {name: int((~fits(read, limits)).sum()) for name, read in others.items()}
    least = min(misfits.values())
    if least > (1 - NEARLY_ALL) * len(out) or least > STRAY * out.sum():
        return None
    names = [name for name, number in misfits.items() if number == least]
    stray = ~fits(others[names[0]], limits)
    expected = SIDES if boxes.has_sides else CORNERS
    return Sign(
        "swapped_axes" if names[0] == "y before x" else "box_format",
        found=f"{counted(out)} outside of the image or without area if read as {expected}, "
        f"{f'only {least:,}' if least else 'none'} if read as {' or as '.join(names)} "
        f"({boxes.example(int((out & ~stray).argmax()))})",
        cause=f"The file probably has {names[0]}",
        advice=f"write {expected}",
        certain=bool(
            out.mean() >= MANY and out.sum() >= LEAST_OUT and least <= FEW_STRAY * out.sum()
        ),
        image_ids=first_ids(boxes.image_ids[out]),
    )


def mixed(boxes: GivenBoxes) -> Sign | None:
    """Some boxes fit as the format has them alone, others alone as corners, or as sides."""
    given, limits = boxes.as_given(), boxes.limits
    out = ~fits(boxes.corners, limits)
    other = fits(given if boxes.has_sides else from_sides(given), limits)
    if out.mean() < FEW or out.sum() < LEAST_MIXED or other[out].mean() < NEARLY_ALL:
        return None
    if (~out & ~other).sum() < LEAST_MIXED:
        return None
    expected, found = (SIDES, CORNERS) if boxes.has_sides else (CORNERS, SIDES)
    return Sign(
        "box_format",
        found=f"{counted(out)} outside of the image or without area if read as {expected}, and "
        f"{int((out & other).sum()):,} of them fit as {found} "
        f"({boxes.example(int((out & other).argmax()))}), as which {int((~out & ~other).sum()):,} "
        "of the others do not fit",
        cause=f"Probably a part of the records has {found}, as where files of two tools are joined",
        advice=f"write {expected} in all of them; boxes that fit both ways may be wrong too",
        image_ids=first_ids(boxes.image_ids[out]),
    )


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


def counted(which: np.ndarray) -> str:
    """ "all 8 boxes are", "3 of 8 boxes are" for which (B,) of the boxes."""
    found, total = int(which.sum()), len(which)
    number = f"all {total:,}" if found == total else f"{found:,} of {total:,}"
    return f"{number} boxes are" if total > 1 else "the only box is"


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
