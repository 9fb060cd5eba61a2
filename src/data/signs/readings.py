"""Signs of boxes by other numbers than the format has, such as corners for sides."""

from src.data.signs.given_boxes import (
    FEW,
    LEAST_OUT,
    MANY,
    NEARLY_ALL,
    GivenBoxes,
    centred,
    counted,
    fits,
    from_sides,
)
from src.data.signs.sign import Sign, first_ids

# boxes that fit no way, as a share of those that are out, for a warning and for an error
STRAY, FEW_STRAY = 0.2, 0.1
LEAST_MIXED = 5  # boxes of either kind, for a split that mixes two
SIDES, CORNERS = "x, y, width and height", "two corners, x1, y1, x2, y2"


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
