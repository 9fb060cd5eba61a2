"""Signs of boxes by other numbers than the format has."""

import numpy as np

from src.data.signs.given_boxes import (
    AS_CORNERS,
    CORNERS,
    FEW,
    LEAST_OUT,
    MANY,
    GivenBoxes,
    counted,
)
from src.data.signs.sign import Sign

LEAST_FEW = 4  # boxes that are out, for a warning where they are less than FEW
SURE_OUT = 8  # for an error, where another reading fits all of many: by chance once in 2 ** 8
# boxes that fit no way, as a share of those that are out, for a warning and for an error
STRAY, FEW_STRAY = 0.2, 0.1
Y_FIRST = "y before x"


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
    is_most = out.mean() >= MANY and out.sum() >= LEAST_OUT and least <= FEW_STRAY * out.sum()
    return boxes.sign(
        "swapped_axes" if names[0] == Y_FIRST else "box_format",
        out,
        f"{counted(out)} outside of the image or without area if read as {boxes.layout}, "
        f"{f'only {least:,}' if least else 'none'} if read as {' or as '.join(names)}",
        example=out & ~misfits[names[0]],
        cause=f"The file probably has {' or '.join(names)}",
        advice=f"write {boxes.layout}",
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
