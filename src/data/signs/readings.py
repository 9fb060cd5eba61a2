"""Signs of boxes by other numbers than the format has."""

import numpy as np

from src.data.signs.given_boxes import (
    CENTRES,
    CORNERS,
    FEW,
    LEAST_OUT,
    NEARLY_ALL,
    SIDES,
    SURE_OUT,
    GivenBoxes,
    centred,
    counted,
    fits,
    from_sides,
    has_many,
)
from src.data.signs.sign import Sign

MANY = 0.3  # of the boxes, which are out, for an error
LEAST_FEW = 4  # boxes that are out, for a warning where they are less than FEW
# boxes that fit no way, as a share of those that are out, for a warning and for an error
STRAY, FEW_STRAY = 0.2, 0.1
LEAST_MIXED = 5  # boxes of either kind, for a split that mixes two
Y_FIRST = "y before x"


def other_reading(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images as the format has them, and fit if read in another way.

    A few stray boxes, which fit neither way, do not hide that.
    """
    out = ~fits(boxes.corners, boxes.limits)
    if out.sum() < 2:
        return None
    others = readings(boxes)
    misfits = {name: int(boxes.misfits(read).sum()) for name, read in others.items()}
    least = min(misfits.values())
    all_of_many = least == 0 and has_many(boxes)
    if out.mean() < FEW and not (all_of_many and out.sum() >= LEAST_FEW):
        return None
    if least > (1 - NEARLY_ALL) * len(out) or least > STRAY * out.sum():
        return None
    names = [name for name, number in misfits.items() if number == least]
    stray = boxes.misfits(others[names[0]])
    certain = out.mean() >= MANY and out.sum() >= LEAST_OUT and least <= FEW_STRAY * out.sum()
    return Sign(
        "swapped_axes" if names[0] == Y_FIRST else "box_format",
        found=f"{counted(out)} outside of the image or without area if read as {boxes.layout}, "
        f"{f'only {least:,}' if least else 'none'} if read as {' or as '.join(names)} "
        f"({boxes.example(int((out & ~stray).argmax()))})",
        cause=f"The file probably has {names[0]}",
        advice=f"write {boxes.layout}",
        certain=bool(certain or (all_of_many and out.sum() >= SURE_OUT)),
        **boxes.pictures(out),
    )


def readings(boxes: GivenBoxes) -> dict[str, np.ndarray]:
    """Corners (B,4), in the file's units, of the boxes as they may be meant, by what that is."""
    given = boxes.as_given()
    swapped = given[:, [1, 0, 3, 2]]
    found = {
        CORNERS: given,
        SIDES: from_sides(given),
        "x1, x2, y1, y2": given[:, [0, 2, 1, 3]],
        CENTRES: centred(given),
        Y_FIRST: {CORNERS: swapped, SIDES: from_sides(swapped), CENTRES: centred(swapped)}[
            boxes.layout
        ],
        "two corners, y1, x1, y2, x2": swapped,
        "x, y, height and width": from_sides(given[:, [0, 1, 3, 2]]),
    }
    if boxes.layout == CENTRES:
        found["centre, height and width"] = centred(given[:, [0, 1, 3, 2]])
    if boxes.layout == CORNERS:  # then it is Y_FIRST
        del found["two corners, y1, x1, y2, x2"]
    return {name: read for name, read in found.items() if name != boxes.layout}


def mixed(boxes: GivenBoxes) -> Sign | None:
    """Some boxes fit as the format has them alone, others alone as corners, or as sides."""
    found = SIDES if boxes.layout == CORNERS else CORNERS
    out = ~fits(boxes.corners, boxes.limits)
    other = ~boxes.misfits(readings(boxes)[found])
    if out.mean() < FEW or out.sum() < LEAST_MIXED or other[out].mean() < NEARLY_ALL:
        return None
    if (~out & ~other).sum() < LEAST_MIXED:
        return None
    return Sign(
        "box_format",
        found=f"{counted(out)} outside of the image or without area if read as {boxes.layout}, and "
        f"{int((out & other).sum()):,} of them fit as {found} "
        f"({boxes.example(int((out & other).argmax()))}), as which {int((~out & ~other).sum()):,} "
        "of the others do not fit",
        cause=f"Probably a part of the records has {found}, as where files of two tools are joined",
        advice=f"write {boxes.layout} in all of them; boxes that fit both ways may be wrong too",
        **boxes.pictures(out),
    )
