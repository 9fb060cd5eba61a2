"""The boxes of a split as a file has them, and what the checks of them share."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from src.data.signs.sign import Sign, first_boxes

SLACK = 1.0  # pixels that a sound box may be outside: VOC's first pixel, rounding
SIDES, CORNERS = "x, y, width and height", "two corners, x1, y1, x2, y2"
CENTRES = "centre, width and height"
FEW = 0.05  # share of the boxes, for a warning
MANY, LEAST_OUT = 0.3, 3  # share and number of boxes that are out, for an error
NEARLY_ALL = 0.9  # share of the boxes
LEAST_BOXES, LEAST_IMAGES = 20, 5  # of a split that is large enough for checks of chance


@dataclass(frozen=True)
class Form:
    """How a file writes a box."""

    layout: str = CORNERS  # what its four numbers are: SIDES, CORNERS or CENTRES
    in_shares: bool = False  # whether its numbers are shares of the image's sides
    first_pixel: int = 0  # number of the first pixel


@dataclass(frozen=True)
class GivenBoxes:
    """The B boxes of a split, not yet clipped."""

    corners: np.ndarray  # (B,4) float64 x1, y1, x2, y2 in pixels
    limits: np.ndarray  # (B,2) width and height of each box's image
    image_ids: np.ndarray  # (B,)
    where: Callable[[int], str]  # names a box
    form: Form = Form()

    @property
    def layout(self) -> str:
        """What the four numbers of a box are in the file."""
        return self.form.layout

    def as_given(self) -> np.ndarray:
        """(B,4) the four numbers in the file."""
        given = self.corners.copy()
        if self.layout != CORNERS:
            given[:, 2:] -= given[:, :2]
        if self.layout == CENTRES:
            given[:, :2] += given[:, 2:] / 2
        given[:, :2] += self.form.first_pixel
        return given / np.tile(self.limits, 2) if self.form.in_shares else given

    def out(self) -> np.ndarray:
        """(B,) bool: which leave their images, or have no area."""
        return ~fits(self.corners, self.limits)

    def misfits(self, corners: np.ndarray) -> np.ndarray:
        """`out` of other corners (B,4), in the file's units."""
        scaled = corners * np.tile(self.limits, 2) if self.form.in_shares else corners
        return ~fits(scaled, self.limits)

    def are_many(self) -> bool:
        """Whether there are enough boxes and images for what a small split may have by chance."""
        images = len(np.unique(self.image_ids))
        return len(self.corners) >= LEAST_BOXES and images >= LEAST_IMAGES

    def sign(
        self,
        name: str,
        which: np.ndarray,
        found: str,
        *,
        cause: str,
        advice: str,
        certain: bool = False,
        example: np.ndarray | None = None,
    ) -> Sign:
        """The sign of the boxes `which` (B,) bool; the first of them, or of `example`, is shown."""
        index = int((which if example is None else example).argmax())
        numbers = ", ".join(f"{value:.6g}" for value in self.as_given()[index])
        found = f"{found} ({self.where(index)}: {numbers})"
        pictures = first_boxes(self.image_ids[which], self.corners[which])
        return Sign(name, found, cause, advice, bool(certain), **pictures)

    def take(self, rows: np.ndarray) -> "GivenBoxes":
        """The boxes `rows` alone."""
        return replace(
            self,
            corners=self.corners[rows],
            limits=self.limits[rows],
            image_ids=self.image_ids[rows],
            where=lambda index: self.where(rows[index]),
        )


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


# what makes corners (B,4) of four numbers, by what these are
AS_CORNERS = {SIDES: from_sides, CORNERS: lambda numbers: numbers, CENTRES: centred}


def counted(which: np.ndarray) -> str:
    """ "all 8 boxes are", "3 of 8 boxes are" for which (B,) of the boxes."""
    found, total = int(which.sum()), len(which)
    number = f"all {total:,}" if found == total else f"{found:,} of {total:,}"
    return f"{number} boxes are" if total > 1 else "the only box is"
