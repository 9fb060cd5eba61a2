"""Tables of boxes: a line for each box, with or without a heading."""

import csv
import math
import os
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
from globox import Annotation, BoundingBox

from src.data.conversion.columns import (
    BOX_CELL,
    CORNERS,
    EXPECTED,
    NUMBERS,
    Columns,
    find_columns,
)
from src.data.conversion.job import Job, reading
from src.data.conversion.layouts import Rows, as_corners, settled_layout
from src.data.conversion.shapes import around_points
from src.data.conversion.tools import require
from src.data.files.folder import SUFFIX, Folder
from src.data.images import SUFFIXES, read_size
from src.runtime.errors import InputError

SEPARATORS = ",;\t|"
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
CLASS_DESCRIPTIONS = "*class-descriptions*.csv"
LOOKED_AT = 100  # rows that tell the columns
SHARES_SLACK = 0.01  # that a share may be beyond 0 or 1, by rounding


def table(job: Job) -> Iterator[Annotation]:
    """A table of corners, of sides with a corner or the centre, or of four points.

    In pixels, or in shares of the sides if no number of the table is beyond 0 and 1.
    """
    images, layout = grouped(job, refuse_ids=True)
    sides = [side for rows in images.values() for _, box in rows.boxes for side in box]
    relative = bool(sides) and all(-SHARES_SLACK <= side <= 1 + SHARES_SLACK for side in sides)
    if relative:
        job.notes.append("the boxes lie within 0 and 1: read as shares of the images' sides")
    job.find_images(list(images))
    layout = settled_layout(job, images, layout, relative=relative)
    for name, rows in images.items():
        yield annotation_of(job, name, rows, layout, relative=relative)


def openimages(job: Job) -> Iterator[Annotation]:
    """Open Images' csv: shares of the sides, and ids of images without a suffix."""
    images, layout = grouped(job)
    names = class_descriptions(job, {label for rows in images.values() for label, _ in rows.boxes})
    for name, rows in images.items():
        rows.boxes = [(names.get(label, label), box) for label, box in rows.boxes]
        yield annotation_of(job, with_suffix(job.images, name), rows, layout, relative=True)


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


def grouped(job: Job, *, refuse_ids: bool = False) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """The images of the table in the order of their first box, and the layout of the boxes.

    A line without a box is an image without objects. InputError where it is Open Images' and
    `refuse_ids` is set.
    """
    path = job.only_file()
    images: dict[str, Rows] = {}
    layout = CORNERS
    for line, cells, columns in rows_of(path, refuse_ids, has_class=bool(job.class_name)):
        layout = columns.layout
        with reading(f"{path}: line {line}", f"a box ({EXPECTED})"):
            name = cells[columns.image].strip().replace("\\", "/")
            if not name:
                raise ValueError("no image")
            rows = images.setdefault(name, Rows())
            values = [cells[place].strip() for place in columns.box]
            if any(values):
                label = job.class_name or require(cells[columns.label])
                rows.boxes.append((label.strip(), numbers_of(values)))
            if columns.size:
                size = [cells[place].strip() for place in columns.size]
                if all(side.isdecimal() and int(side) for side in size):
                    rows.size = (int(size[0]), int(size[1]))
    return images, layout


def numbers_of(values: list[str]) -> tuple[float, ...]:
    """The four numbers of a box in four cells, in one, or around points in eight."""
    if len(values) == 1:
        values = NUMBERS.findall(values[0]) if BOX_CELL.fullmatch(values[0]) else values
        if len(values) != 4:
            raise ValueError(f"{values[0]!r}; expected four numbers")
    if len(values) == 8:  # of a rectangle two corners may be given alone
        pairs = [pair for pair in zip(values[0::2], values[1::2]) if any(pair)]
        return around_points([tuple(map(finite, pair)) for pair in pairs])
    return tuple(map(finite, values))


def annotation_of(
    job: Job, name: str, rows: Rows, layout: tuple[str, ...], *, relative: bool
) -> Annotation:
    """An image with its boxes, `relative` to its size or in pixels."""
    size = rows.size
    if relative and size is None:
        with reading(f"{job.input}: {name}", "an image"):
            size = read_size(job.path_of(name))
    boxes = [make_box(*box, layout, size if relative else None) for box in rows.boxes]
    return Annotation(name, size, boxes)


def finite(text: str) -> float:
    """The number in a cell; ValueError where it is none."""
    if DECIMAL_COMMA.fullmatch(text):
        raise InputError(f"{text!r} has a decimal comma; expected {text.replace(',', '.')}")
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r}; expected a finite number")
    return value


def make_box(
    label: str,
    values: tuple[float, ...],
    layout: tuple[str, ...],
    size: tuple[int, int] | None,
) -> BoundingBox:
    """A box of four numbers, which are shares of the image's size if it is given."""
    if size is not None:
        values = tuple(value * side for value, side in zip(values, (*size, *size)))
    x1, y1, x2, y2 = as_corners(np.array([values], np.float64), layout)[0].tolist()
    (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))  # in any order
    return BoundingBox.create(label=label, coords=(x1, y1, x2, y2))


def with_suffix(folder: Path, name: str) -> str:
    """The file of an image whose name may lack its suffix."""
    found = next((name + s for s in ("", *SUFFIXES) if os.path.isfile(folder / (name + s))), None)
    if found is None:
        match = Folder(folder).nearest(name)
        near = f"; there is {match.name!r}" if match and match.how == SUFFIX else ""
        raise InputError(f"no image {folder / name}{near}; name their folder with --images")
    return found


def rows_of(
    path: Path, refuse_ids: bool, *, has_class: bool
) -> Iterator[tuple[int, list[str], Columns]]:
    """Line number and cells of each box, and what the columns are."""
    with reading(str(path), "a table"), path.open(encoding="utf-8-sig", newline="") as file:
        separator = max(SEPARATORS, key=file.readline().count)
        file.seek(0)
        reader = csv.reader(file, delimiter=separator)
        rows = ((reader.line_num, cells) for cells in reader if any(c.strip() for c in cells))
        first = list(islice(rows, LOOKED_AT))
        if not first:
            return
        columns = find_columns(
            path, [cells for _, cells in first], refuse_ids=refuse_ids, has_class=has_class
        )
        needed = columns.needed()
        for line, cells in chain(first[columns.has_heading :], rows):
            if len(cells) < needed:
                raise InputError(f"{path}: line {line}: {len(cells)} cells; expected {needed}")
            yield line, cells, columns
