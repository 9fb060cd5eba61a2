"""What the columns of a table of boxes are, by its heading."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from src.data.images import SUFFIXES
from src.runtime.errors import InputError
from src.runtime.text import is_number

VIA_COLUMN, OPENIMAGES_COLUMN = "regionshapeattributes", "isoccluded"  # that no others have
# what columns are called, in lower case without spaces, "-", "_" and "."
ALIASES = {
    "image": (
        "filename", "file", "image", "imagename", "path", "imagepath", "imgpath", "imageid",
        "filepath", "imagefile", "img", "imgname", "fname",
    ),
    "class": ("class", "label", "classname", "category", "labelname", "categoryname", "name"),
    "xmin": ("xmin", "x1", "left", "xtl", "bboxxmin"),
    "ymin": ("ymin", "y1", "top", "ytl", "bboxymin"),
    "xmax": ("xmax", "x2", "right", "xbr", "bboxxmax"),
    "ymax": ("ymax", "y2", "bottom", "ybr", "bboxymax"),
    "cx": ("cx", "xc", "xcenter", "xcentre", "centerx", "centrex"),
    "cy": ("cy", "yc", "ycenter", "ycentre", "centery", "centrey"),
    "x": ("x", "xmin", "left", "bboxx", "x1"),
    "y": ("y", "ymin", "top", "bboxy", "y1"),
    "w": ("w", "width", "boxwidth", "bboxwidth", "bboxw"),
    "h": ("h", "height", "boxheight", "bboxheight", "bboxh"),
    "box": ("bbox", "box", "boundingbox", "bndbox", "coordinates", "coords"),
}  # fmt: skip
# of the image, in pixels; the latter where "width" is not the box's
IMAGE_SIZES = (("imagewidth", "imageheight"), ("imgwidth", "imgheight"), ("width", "height"))
# what four numbers of a box are; UNKNOWN is told by all of them
CORNERS, SIDES, CENTRES = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "w", "h"), ("cx", "cy")
CENTRES += SIDES[2:]
UNKNOWN = ("box",)
FROM_ZERO = ("x0", "y0", "x1", "y1")  # of corners, where others count from 1
POINTS = tuple(f"{axis}{number}" for number in (1, 2, 3, 4) for axis in "xy")
BARE = ("image", *CORNERS, "class")  # the columns without a heading, as keras-retinanet has them
EXPECTED = "image, xmin, ymin, xmax, ymax, class"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
NUMBERS = re.compile(NUMBER)
BOX_CELL = re.compile(rf"[\s\[({{]*{NUMBER}(?:[\s,;]+{NUMBER}){{3}}[\s\])}}]*")


@dataclass(frozen=True)
class Columns:
    """Places of the columns in a row of cells."""

    image: int
    label: int | None  # of the class; None where all boxes are of one
    box: tuple[int, ...]  # of four numbers, of four points x1, y1 ... y4, or of one cell with all
    layout: tuple[str, ...]  # CORNERS, SIDES, CENTRES or UNKNOWN
    size: tuple[int, int] | None = None  # width and height of the image
    has_heading: bool = True

    def needed(self) -> int:
        """How many cells a row has at least."""
        return 1 + max(self.image, *self.box, *(self.size or ()), self.label or 0)


def find_columns(path: Path, first: list[str], *, refuse_ids: bool, has_class: bool) -> Columns:
    """The columns of a table by its first row; InputError where that does not tell them.

    Args:
        refuse_ids: whether Open Images' table is one of another tool.
        has_class: whether the user named the class of all boxes.
    """
    if is_heading(first):
        return by_heading(path, first, refuse_ids=refuse_ids, has_class=has_class)
    if is_bare(first):
        return Columns(0, None if has_class else 5, (1, 2, 3, 4), CORNERS, has_heading=False)
    raise InputError(
        f"{path}: its first line {','.join(first)[:80]!r} is no heading; write one that names its "
        f"{len(first)} columns in their order: image, class, and xmin, ymin, xmax, ymax or x, y, "
        "w, h; others by any other name"
    )


def is_heading(cells: list[str]) -> bool:
    """Whether a row names columns: it has several cells, and none is a number or a box."""
    filled = [cell for cell in cells if cell.strip()]
    if len(cells) >= len(BARE) and not any(cell.strip() for cell in cells[1:5]):
        return False  # an image without boxes
    return not any(is_number(cell) or BOX_CELL.fullmatch(cell) for cell in filled)


def by_heading(path: Path, heading: list[str], *, refuse_ids: bool, has_class: bool) -> Columns:
    """The columns by their names."""
    names = [cell.strip().lower().translate({ord(c): None for c in " -_."}) for cell in heading]
    if VIA_COLUMN in names:
        raise InputError(f"{path}: is VIA's CSV; export the annotations as JSON and use --from=via")
    if refuse_ids and OPENIMAGES_COLUMN in names:
        raise InputError(f"{path}: is Open Images'; use --from=openimages")
    found = {
        name: names.index(next(alias for alias in aliases if alias in names))
        for name, aliases in ALIASES.items()
        if any(alias in names for alias in aliases)
    }
    layout, box = box_columns(names, found)
    required = ("image", *(() if has_class else ("class",)), *(() if box else layout))
    missing = [name for name in required if name not in found]
    if missing:
        have = ", ".join(heading)[:120]
        way = ""
        if missing == ["class"]:
            way = "; where all boxes are of one class, name it with --class=NAME"
        raise InputError(
            f"{path}: no column for {', '.join(missing)} in {have!r}; expected {EXPECTED}{way}"
        )
    pairs = IMAGE_SIZES[: 2 if layout in (SIDES, CENTRES) else 3]
    size = next((p for p in pairs if all(name in names for name in p)), None)
    return Columns(
        image=found["image"],
        label=None if has_class else found["class"],
        box=box,
        layout=layout,
        size=size and (names.index(size[0]), names.index(size[1])),
    )


def box_columns(
    names: list[str], found: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Layout and places of a box; without places where a column is missing.

    Args:
        names: of all columns.
        found: places of those in ALIASES.
    """
    for named in (FROM_ZERO, POINTS):
        if all(name in names for name in named):
            return CORNERS, tuple(map(names.index, named))
    for layout in (CORNERS, CENTRES, SIDES):
        if all(name in found for name in layout):
            return layout, tuple(found[name] for name in layout)
    if "box" in found:
        return UNKNOWN, (found["box"],)
    return (CORNERS if "w" not in found else SIDES), ()


def is_bare(cells: list[str]) -> bool:
    """Whether the columns are BARE: an image, then a box or nothing, and no other image."""
    if len(cells) < len(BARE) - 1 or is_number(cells[0]):
        return False
    is_box = all(map(is_number, cells[1:5])) or not any(cell.strip() for cell in cells[1:5])
    return is_box and not any(cell.lower().endswith(SUFFIXES) for cell in cells[5:])
