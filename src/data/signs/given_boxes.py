"""The boxes of a split as its file gives them, and what signs of them ask."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SLACK = 1.0  # pixels that a box may be outside: VOC's first pixel, rounding
FEW, MANY = 0.05, 0.3  # shares of boxes that are out, for a warning and for an error
LEAST_OUT = 3  # boxes that are out, for an error
NEARLY_ALL = 0.9  # of the boxes
# chance (natural logarithm) that all boxes are in a corner though they may be anywhere
UNLIKELY, IMPOSSIBLE = -5.0, -30.0
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


def counted(which: np.ndarray) -> str:
    """ "all 8 boxes are", "3 of 8 boxes are" for which (B,) of the boxes."""
    found, total = int(which.sum()), len(which)
    number = f"all {total:,}" if found == total else f"{found:,} of {total:,}"
    return f"{number} boxes are" if total > 1 else "the only box is"
