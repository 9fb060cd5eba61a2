"""What the columns of a table of boxes are, by its heading or by what is in them."""

import re
from collections.abc import Mapping, Sequence
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
SETS = {"TRAIN", "TRAINING", "VALIDATE", "VALIDATION", "VAL", "TEST", "UNASSIGNED"}  # AutoML's
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
NUMBERS = re.compile(NUMBER)
BOX_CELL = re.compile(rf"[\s\[({{]*{NUMBER}(?:[\s,;]+{NUMBER}){{3}}[\s\])}}]*")
MOST = 0.9  # of the cells of a column, that tell what it is


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


def find_columns(
    path: Path, rows: Sequence[list[str]], *, refuse_ids: bool, has_class: bool
) -> Columns:
    """The columns of a table by its first rows; InputError where they cannot be told.

    Args:
        refuse_ids: whether Open Images' table is one of another tool.
        has_class: whether the user named the class of all boxes.
    """
    if is_heading(rows[0]):
        return by_heading(path, rows[0], refuse_ids=refuse_ids, has_class=has_class)
    if found := by_content(rows, has_class=has_class):
        return found
    example = EXPECTED.replace(" ", "")
    raise InputError(
        f"{path}: its first line {','.join(rows[0])[:80]!r} is no heading, and what its columns "
        f"are is not clear; write a heading as the first line, such as {example!r}"
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


def by_content(rows: Sequence[list[str]], *, has_class: bool) -> Columns | None:
    """The columns of a table without a heading by what is in them; None where that is not clear."""
    width = max(map(len, rows))
    columns = [[row[k].strip() for row in rows if k < len(row)] for k in range(width)]
    if is_bare(rows):
        return Columns(0, None if has_class else 5, (1, 2, 3, 4), CORNERS, has_heading=False)
    filled = {k: cells for k, column in enumerate(columns) if (cells := [c for c in column if c])}
    numbers = [k for k, cells in filled.items() if most(cells, is_number)]
    boxes = [k for k, cells in filled.items() if most(cells, BOX_CELL.fullmatch)]
    images = [k for k, cells in filled.items() if most(cells, is_image_name)]
    texts = [
        k
        for k, cells in filled.items()
        if k not in (*numbers, *boxes, *images[:1]) and not most(cells, lambda c: c in SETS)
    ]
    if not images or not (has_class or texts):
        return None
    layout, size, box = SIDES if images[0] > max(numbers, default=0) else UNKNOWN, None, ()
    if len(boxes) == 1:
        box, layout = tuple(boxes), UNKNOWN
    elif len(numbers) in (4, 8):
        box = tuple(numbers)
        layout = CORNERS if len(numbers) == 8 else layout
    elif len(numbers) == 6 and (ends := size_columns(rows, images[0], numbers)):
        size, box = ends, tuple(k for k in numbers if k not in ends)
        layout = SIDES if images[0] > max(box) else layout  # as make-sense.ai has them
    if not box:
        return None
    return Columns(images[0], None if has_class else texts[0], box, layout, size, False)


def is_bare(rows: Sequence[list[str]]) -> bool:
    """Whether the columns are BARE, where some cells may be wrong."""
    others = sum(any(map(is_image_name, row[5:])) for row in rows)
    if others * 2 > len(rows):  # another column has the images
        return False
    fitting = [
        len(row) >= len(BARE) - 1
        and not is_number(row[0])
        and (all(map(is_number, row[1:5])) or not any(cell.strip() for cell in row[1:5]))
        for row in rows
    ]
    return sum(fitting) * 2 > len(rows) or fitting[0]


def size_columns(
    rows: Sequence[list[str]], image: int, numbers: list[int]
) -> tuple[int, int] | None:
    """The first or the last two of six numbers, where they are the same in all of an image."""
    for pair in (tuple(numbers[-2:]), tuple(numbers[:2])):
        sizes: dict[str, tuple[str, ...]] = {}
        values = [(row[image], tuple(row[k] for k in pair)) for row in rows if len(row) > max(pair)]
        is_steady = all(sizes.setdefault(name, size) == size for name, size in values)
        if is_steady and all(cell.strip().isdecimal() for _, size in values for cell in size):
            return pair
    return None


def most(cells: list[str], test) -> bool:
    """Whether nearly all cells pass a test."""
    return sum(map(bool, map(test, cells))) >= MOST * len(cells)


def is_image_name(text: str) -> bool:
    """Whether a cell ends like the name of an image."""
    return text.lower().endswith(SUFFIXES)
