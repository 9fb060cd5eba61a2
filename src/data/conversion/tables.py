"""Tables of boxes: a line for each box, with or without a heading."""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from globox import Annotation, BoundingBox, BoxFormat

from src.data.conversion.tools import Job, reading, require
from src.data.images import SUFFIXES, read_size
from src.runtime.errors import InputError

SEPARATORS = ",;\t"
# what columns are called, in lower case without spaces, "-" and "_"
COLUMNS = {
    "image": ("filename", "file", "image", "imagename", "path", "imagepath", "imgpath", "imageid"),
    "class": ("class", "label", "classname", "category", "labelname", "name"),
    "xmin": ("xmin", "x1", "left", "xtl", "bboxxmin"),
    "ymin": ("ymin", "y1", "top", "ytl", "bboxymin"),
    "xmax": ("xmax", "x2", "right", "xbr", "bboxxmax"),
    "ymax": ("ymax", "y2", "bottom", "ybr", "bboxymax"),
    "x": ("x", "xmin", "left", "bboxx", "x1"),
    "y": ("y", "ymin", "top", "bboxy", "y1"),
    "w": ("w", "width", "boxwidth", "bboxwidth", "bboxw"),
    "h": ("h", "height", "boxheight", "bboxheight", "bboxh"),
}
CORNERS, SIDES = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "w", "h")
BARE = ("image", *CORNERS, "class")  # the columns without a heading, as keras-retinanet has them
EXPECTED = "image, xmin, ymin, xmax, ymax, class"


def table(job: Job) -> Iterator[Annotation]:
    """A table in pixels: corners, or upper left corner with width and height."""
    yield from grouped(job, relative=False)


def openimages(job: Job) -> Iterator[Annotation]:
    """Open Images' csv: shares of the sides, and ids of images without a suffix."""
    yield from grouped(job, relative=True)


def grouped(job: Job, *, relative: bool) -> Iterator[Annotation]:
    """The images of the table in the order of their first box; a line without a box is none."""
    path = job.only_file()
    rows: dict[str, list[tuple[str, tuple[float, ...], BoxFormat]]] = {}
    for line, row in rows_of(path):
        with reading(f"{path}: line {line}", f"a box ({EXPECTED})"):
            name = row["image"].strip().replace("\\", "/")
            if not name:
                raise ValueError("no image")
            boxes = rows.setdefault(name, [])
            sides = CORNERS if "xmax" in row else SIDES
            values = [row[side].strip() for side in sides]
            if any(values):
                form = BoxFormat.LTRB if sides is CORNERS else BoxFormat.LTWH
                boxes.append((require(row["class"]).strip(), tuple(map(finite, values)), form))
    for name, boxes in rows.items():
        with reading(f"{path}: {name}", "an image"):
            file, size = with_suffix(job.images, name) if relative else name, None
            if relative:
                size = read_size(job.images / file)
            yield Annotation(file, size, [make_box(*box, size) for box in boxes])


def finite(text: str) -> float:
    """The number in a cell; ValueError where it is none."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r}; expected a finite number")
    return value


def make_box(
    label: str, values: tuple[float, ...], form: BoxFormat, size: tuple[int, int] | None
) -> BoundingBox:
    """A box of four numbers, which are shares of the image's size if it is given."""
    if size is not None:
        values = tuple(value * side for value, side in zip(values, (*size, *size)))
    if form is BoxFormat.LTRB:  # corners may be in any order
        (x1, x2), (y1, y2) = sorted(values[0::2]), sorted(values[1::2])
        values = (x1, y1, x2, y2)
    return BoundingBox.create(label=label, coords=values, box_format=form)


def with_suffix(folder: Path, name: str) -> str:
    """The file of an image whose name may lack its suffix."""
    found = next((name + s for s in ("", *SUFFIXES) if (folder / (name + s)).is_file()), None)
    if found is None:
        raise InputError(f"no image {folder / name}; name their folder with --images")
    return found


def rows_of(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Line number and cells of each box by the names in COLUMNS."""
    with reading(str(path), "a table"), path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        separator = max(SEPARATORS, key=first.count)
        reader = csv.reader(file, delimiter=separator)
        columns: dict[str, int] | None = None
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = columns_of(path, cells)
                if columns is not None:
                    continue
                columns = {name: index for index, name in enumerate(BARE)}
            needed = max(columns.values()) + 1
            if len(cells) < needed:
                raise InputError(
                    f"{path}: line {reader.line_num}: {len(cells)} cells; expected {needed}"
                )
            yield reader.line_num, {name: cells[index] for name, index in columns.items()}


def columns_of(path: Path, heading: list[str]) -> dict[str, int] | None:
    """The place of each column by the heading; None where the first line is a box."""
    if len(heading) >= len(BARE) and all(map(is_number, heading[1:5])):
        return None
    names = [cell.strip().lower().translate({ord(c): None for c in " -_."}) for cell in heading]
    if len(names) == len(BARE) and not any(cell.strip() for cell in heading[1:5]):
        return None  # an image without boxes
    found = {
        name: names.index(next(alias for alias in aliases if alias in names))
        for name, aliases in COLUMNS.items()
        if any(alias in names for alias in aliases)
    }
    sides = CORNERS if all(side in found for side in CORNERS) else SIDES
    missing = [name for name in ("image", "class", *sides) if name not in found]
    if missing:
        have = ", ".join(heading)[:120]
        raise InputError(
            f"{path}: no column for {', '.join(missing)} in {have!r}; expected {EXPECTED}"
        )
    return {name: found[name] for name in ("image", "class", *sides)}


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
