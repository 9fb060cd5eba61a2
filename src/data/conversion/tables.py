"""Tables of boxes: a line for each box, with or without a heading."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from globox import Annotation, BoundingBox, BoxFormat

from src.data.conversion.job import Job, reading
from src.data.conversion.tools import require
from src.data.files.folder import SUFFIX, Folder
from src.data.images import SUFFIXES, read_size
from src.runtime.errors import InputError

SEPARATORS = ",;\t|"
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
CLASS_DESCRIPTIONS = "*class-descriptions*.csv"
VIA_COLUMN, OPENIMAGES_COLUMN = "regionshapeattributes", "isoccluded"  # that no others have
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
# of the image, in pixels; the latter where "width" is not the box's
IMAGE_SIZES = (("imagewidth", "imageheight"), ("imgwidth", "imgheight"), ("width", "height"))
SHARES_SLACK = 0.01  # that a share may be beyond 0 or 1, by rounding
CORNERS, SIDES = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "w", "h")
BARE = ("image", *CORNERS, "class")  # the columns without a heading, as keras-retinanet has them
EXPECTED = "image, xmin, ymin, xmax, ymax, class"


Row = tuple[str, tuple[float, ...], BoxFormat]


@dataclass
class Rows:
    """The lines of one image."""

    boxes: list[Row] = field(default_factory=list)
    size: tuple[int, int] | None = None  # where the table has it


def table(job: Job) -> Iterator[Annotation]:
    """A table of corners, or upper left corner with width and height.

    In pixels, or in shares of the sides if no number of the table is beyond 0 and 1.
    """
    images = grouped(job, refuse_ids=True)
    sides = [side for rows in images.values() for _, box, _ in rows.boxes for side in box]
    relative = bool(sides) and all(-SHARES_SLACK <= side <= 1 + SHARES_SLACK for side in sides)
    if relative:
        job.notes.append("the boxes lie within 0 and 1: read as shares of the images' sides")
    job.find_images(list(images))
    for name, rows in images.items():
        yield annotation_of(job, name, rows, relative=relative)


def openimages(job: Job) -> Iterator[Annotation]:
    """Open Images' csv: shares of the sides, and ids of images without a suffix."""
    images = grouped(job)
    names = class_descriptions(job, {label for rows in images.values() for label, *_ in rows.boxes})
    for name, rows in images.items():
        rows.boxes = [(names.get(label, label), *rest) for label, *rest in rows.boxes]
        yield annotation_of(job, with_suffix(job.images, name), rows, relative=True)


def class_descriptions(job: Job, labels: set[str]) -> dict[str, str]:
    """The names of Open Images' classes by id, such as /m/01g317, from the file beside the input.

    A note says so where that is missing.
    """
    names: dict[str, str] = {}
    for path in sorted(job.input.parent.glob(CLASS_DESCRIPTIONS)):
        with reading(str(path), "names of classes"):
            rows = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
            names |= {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}
    unnamed = sorted(label for label in labels if label.startswith("/m/") and label not in names)
    if unnamed:
        job.notes.append(
            f"{unnamed[0]} and so on are ids: for names put Open Images' "
            f"class-descriptions-boxable.csv into {job.input.parent} and run this again"
        )
    return names


def grouped(job: Job, *, refuse_ids: bool = False) -> dict[str, Rows]:
    """The images of the table in the order of their first box; a line without a box is none.

    InputError where it is Open Images' and `refuse_ids` is set.
    """
    path = job.only_file()
    images: dict[str, Rows] = {}
    for line, row in rows_of(path, refuse_ids):
        with reading(f"{path}: line {line}", f"a box ({EXPECTED})"):
            name = row["image"].strip().replace("\\", "/")
            if not name:
                raise ValueError("no image")
            rows = images.setdefault(name, Rows())
            sides = CORNERS if "xmax" in row else SIDES
            values = [row[side].strip() for side in sides]
            if any(values):
                form = BoxFormat.LTRB if sides is CORNERS else BoxFormat.LTWH
                box = tuple(map(finite, values))
                rows.boxes.append((require(row["class"]).strip(), box, form))
            size = [row.get(side, "").strip() for side in ("image width", "image height")]
            if all(side.isdecimal() and int(side) for side in size):
                rows.size = (int(size[0]), int(size[1]))
    return images


def annotation_of(job: Job, name: str, rows: Rows, *, relative: bool) -> Annotation:
    """An image with its boxes, `relative` to its size or in pixels."""
    size = rows.size
    if relative and size is None:
        with reading(f"{job.input}: {name}", "an image"):
            size = read_size(job.path_of(name))
    return Annotation(
        name, size, [make_box(*box, size if relative else None) for box in rows.boxes]
    )


def finite(text: str) -> float:
    """The number in a cell; ValueError where it is none."""
    if DECIMAL_COMMA.fullmatch(text):
        raise InputError(f"{text!r} has a decimal comma; expected {text.replace(',', '.')}")
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
        match = Folder(folder).nearest(name)
        near = f"; there is {match.name!r}" if match and match.how == SUFFIX else ""
        raise InputError(f"no image {folder / name}{near}; name their folder with --images")
    return found


def rows_of(path: Path, refuse_ids: bool) -> Iterator[tuple[int, Mapping[str, str]]]:
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
                columns = columns_of(path, cells, refuse_ids)
                if columns is not None:
                    continue
                columns = {name: index for index, name in enumerate(BARE)}
            needed = max(columns.values()) + 1
            if len(cells) < needed:
                raise InputError(
                    f"{path}: line {reader.line_num}: {len(cells)} cells; expected {needed}"
                )
            yield reader.line_num, {name: cells[index] for name, index in columns.items()}


def columns_of(path: Path, heading: list[str], refuse_ids: bool) -> dict[str, int] | None:
    """The place of each column by the heading; None where the first line is a box."""
    if len(heading) >= len(BARE) and all(map(is_number, heading[1:5])):
        return None
    names = [cell.strip().lower().translate({ord(c): None for c in " -_."}) for cell in heading]
    if len(names) == len(BARE) and not any(cell.strip() for cell in heading[1:5]):
        return None  # an image without boxes
    if VIA_COLUMN in names:
        raise InputError(f"{path}: is VIA's CSV; export the annotations as JSON and use --from=via")
    if refuse_ids and OPENIMAGES_COLUMN in names:
        raise InputError(f"{path}: is Open Images'; use --from=openimages")
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
    places = {name: found[name] for name in ("image", "class", *sides)}
    for pair in IMAGE_SIZES[: 3 if sides is CORNERS else 2]:
        if all(name in names for name in pair):
            sizes = [names.index(name) for name in pair]
            return places | dict(zip(("image width", "image height"), sizes))
    return places


def is_number(text: str) -> bool:
    """Whether a cell holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
