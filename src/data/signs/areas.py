"""Areas of COCO's objects that contradict their boxes."""

import numpy as np

from src.data.signs.sign import Sign, first_boxes
from src.runtime.text import count

AREA_SLACK = 1.1  # an outline's area may exceed its box a little, drawn by rounded corners
TINY_AREA, LARGE_BOX = 1.0, 100.0  # square pixels: no outline is so small in such a box
MANY, LEAST_MANY = 0.1, 5  # of the objects, for boxes that may be wrong and not their areas
ALIKE = 0.02  # by which numbers that are the same may differ, as a share


def sound_areas(
    objects: np.ndarray, image_areas: np.ndarray, labelled: list
) -> tuple[np.ndarray, Sign | None]:
    """Areas (T,) of objects (T,) OBJECT, of the box where the file's cannot be; and the sign of it.

    Args:
        image_areas: (T,) square pixels of each object's image.
        labelled: (T,) the objects' ids in the file.
    """
    areas = objects["area"]
    sides = objects["box"][:, 2:]
    with np.errstate(over="ignore"):  # a box of 1e308 pixels, which is clipped elsewhere
        boxes = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0)
    beyond_image = areas > AREA_SLACK * image_areas
    too_large = (areas > AREA_SLACK * boxes + 1) | beyond_image
    too_small = (areas <= 0) | ((areas <= TINY_AREA) & (boxes >= LARGE_BOX))
    wrong = (boxes > 0) & (too_large | too_small | ~np.isfinite(areas))
    if not wrong.any():
        return areas, None
    by_boxes = wrong & too_large & ~beyond_image & ~alike(areas, image_areas)
    is_of_boxes = by_boxes.sum() >= max(LEAST_MANY, MANY * len(areas)) and varied(areas[by_boxes])
    which = by_boxes if is_of_boxes else wrong
    corners = objects["box"][which] + np.pad(objects["box"][which, :2], ((0, 0), (2, 0)))
    pictures = first_boxes(objects["image_id"][which], corners)
    index = int(which.argmax())
    example = f"annotation {labelled[index]}: area {areas[index]:.6g}, box {boxes[index]:.6g}"
    own = f"{int(which.sum()):,} of {count(len(areas), 'object')} have an area larger than their"
    sign = Sign(
        "areas",
        found=f"{own} box or image, or (nearly) 0 ({example})",
        cause="AP by size would count them in the wrong size",
        advice="they count with the area of their box; pycocotools, which takes the file's, "
        "gives other numbers",
        **pictures,
    )
    if is_of_boxes:
        sign = Sign(
            "box_areas",
            found=f"{own} box ({example})",
            cause=f"Boxes and areas contradict each other{by_factor(areas, boxes)}: boxes are "
            "probably in other units than pixels or for resized images, or are not x, y, width and "
            "height; or areas are of other images",
            advice="check some on the page that src.data.validate writes; where boxes are right, "
            "leave the areas out: they count with the area of their box",
            **pictures,
        )
    return np.where(wrong, boxes, areas), sign


def alike(areas: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(T,) bool: whether two areas are the same."""
    return np.abs(areas - others) <= ALIKE * others


def varied(areas: np.ndarray) -> bool:
    """Whether areas are not one value that a tool wrote for all."""
    return not alike(areas, np.median(areas)).all()


def by_factor(areas: np.ndarray, boxes: np.ndarray) -> str:
    """What is said where all areas are the same multiple of their boxes; else ""."""
    ratios = (areas / np.where(boxes > 0, boxes, np.nan))[boxes > 0]
    factor = np.median(ratios)
    if not alike(ratios, np.full(len(ratios), factor)).all():
        return ""
    return f", each area is {factor:.3g} times its box"
