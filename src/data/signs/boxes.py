"""What is suspicious about the boxes of a split, as a file has them."""

from collections.abc import Sequence

import numpy as np

from src.data.signs.given_boxes import GivenBoxes, fits
from src.data.signs.places import outside, upper_left, whole_image
from src.data.signs.readings import other_reading
from src.data.signs.sign import Sign, those_found
from src.data.signs.units import percent, shares


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
