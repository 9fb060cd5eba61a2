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
    from_sides,
)
from src.data.signs.sign import Sign

MANY = 0.3  # of the boxes, which are out, for an error
LEAST_FEW = 4  # boxes that are out, for a warning where they are less than FEW
# boxes that fit no way, as a share of those that are out, for a warning and for an error
STRAY, FEW_STRAY = 0.2, 0.1
LEAST_MIXED = 5  # boxes of either kind, for a split that mixes two
Y_FIRST = "y before x"
ANY_CORNER = "corners in any order, or negative width and height"
# readings that tell a part of the records from the others
OF_PARTS = (CORNERS, SIDES, Y_FIRST, "two corners, y1, x1, y2, x2")


def other_reading(boxes: GivenBoxes) -> Sign | None:
    """Boxes that leave their images as the format has them, and fit if read in another way.

    A few stray boxes, which fit neither way, do not hide that.
    """
    out = boxes.out()
    return best_of(boxes, out, readings(boxes)) if out.sum() >= 2 else None


def best_of(boxes: GivenBoxes, out: np.ndarray, others: dict[str, np.ndarray]) -> Sign | None:
    """`other_reading` with the corners (B,4) of other readings by what they are.

    Args:
        out: (B,) bool: boxes that leave their images as the format has them.
    """
    misfits = {name: int(boxes.misfits(read).sum()) for name, read in others.items()}
    least = min(misfits.values())
    all_of_many = least == 0 and boxes.are_many()
    if out.mean() < FEW and not (all_of_many and out.sum() >= LEAST_FEW):
        return None
    if least > (1 - NEARLY_ALL) * len(out) or least > STRAY * out.sum():
        return None
    names = [name for name, number in misfits.items() if number == least]
    stray = boxes.misfits(others[names[0]])
    certain = out.mean() >= MANY and out.sum() >= LEAST_OUT and least <= FEW_STRAY * out.sum()
    return boxes.sign(
        "swapped_axes" if names[0] == Y_FIRST else "box_format",
        out,
        f"{counted(out)} outside of the image or without area if read as {boxes.layout}, "
        f"{f'only {least:,}' if least else 'none'} if read as {' or as '.join(names)}",
        example=out & ~stray,
        cause=f"The file probably has {' or '.join(names)}",
        advice=f"write {boxes.layout}",
        certain=certain or (all_of_many and out.sum() >= SURE_OUT),
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
    else:
        found |= other_points(boxes)
    return {name: read for name, read in found.items() if name != boxes.layout}


def other_points(boxes: GivenBoxes) -> dict[str, np.ndarray]:
    """Corners (B,4) of boxes whose x and y are those of another point, by what that is."""
    given = boxes.as_given()
    height = 1 if boxes.form.in_shares else boxes.limits[:, 1]
    found = {
        f"x, y of the {name}, width and height": from_sides(given - given[:, [2, 3, 2, 3]] * move)
        for name, move in (
            ("lower right corner", [1, 1, 0, 0]),
            ("upper right corner", [1, 0, 0, 0]),
            ("lower left corner", [0, 1, 0, 0]),
            ("middle of the lower side", [0.5, 1, 0, 0]),
        )
    }
    found["x, y lowered by half of width and height, as of a centre that it was not"] = from_sides(
        given + given[:, [2, 3, 2, 3]] * [0.5, 0.5, 0, 0]
    )
    from_below = given.copy()
    from_below[:, 1] = height - given[:, 1]
    found["y counted from below, width and height"] = from_sides(from_below)
    return found


def in_any_order(boxes: GivenBoxes) -> dict[str, np.ndarray]:
    """The corners (B,4), in the file's units, each upper left one before the lower right one."""
    given = boxes.as_given()
    corners = {CORNERS: given, SIDES: from_sides(given), CENTRES: centred(given)}[boxes.layout]
    low, high = (pick(corners[:, :2], corners[:, 2:]) for pick in (np.minimum, np.maximum))
    return {ANY_CORNER: np.hstack([low, high])}


def mixed(boxes: GivenBoxes) -> Sign | None:
    """Boxes of which a part has other numbers, or corners in any order."""
    out = boxes.out()
    if out.sum() < 2:
        return None
    return of_a_part(boxes, out) or best_of(boxes, out, in_any_order(boxes))


def of_a_part(boxes: GivenBoxes, out: np.ndarray) -> Sign | None:
    """Some boxes fit as the format has them alone, others, out (B,) bool, only in another way."""
    if out.mean() < FEW or out.sum() < LEAST_MIXED:
        return None
    fitting = {
        name: ~boxes.misfits(read) for name, read in readings(boxes).items() if name in OF_PARTS
    }
    found, other = max(fitting.items(), key=lambda item: item[1][out].mean())
    if other[out].mean() < NEARLY_ALL or (~out & ~other).sum() < LEAST_MIXED:
        return None
    return Sign(
        "swapped_axes" if found == Y_FIRST else "box_format",
        found=f"{counted(out)} outside of the image or without area if read as {boxes.layout}, and "
        f"{int((out & other).sum()):,} of them fit as {found} "
        f"({boxes.example(out & other)}), as which {int((~out & ~other).sum()):,} "
        "of the others do not fit",
        cause=f"Probably a part of the records has {found}, as where files of two tools are joined",
        advice=f"write {boxes.layout} in all of them; boxes that fit both ways may be wrong too",
        **boxes.pictures(out),
    )
