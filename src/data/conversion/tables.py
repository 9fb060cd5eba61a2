"""Tables of boxes: a line for each box, with or without a heading."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from src.data.conversion.columns import (
    BOX_CELL,
    CENTRES,
    CORNERS,
    EXPECTED,
    NUMBERS,
    SIDES,
    UNKNOWN,
    Columns,
    find_columns,
)
from src.data.conversion.job import Job, reading
from src.data.conversion.shapes import LabelledImage, around_points, class_name, labelled
from src.runtime.errors import InputError

SEPARATORS = ",;\t|"
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
CLASS_DESCRIPTIONS = "*class-descriptions*.csv"
SHARES_SLACK = 0.01  # that a share may be beyond 0 or 1, by rounding

Row = tuple[str, tuple[float, ...]]  # class and four numbers of a box


@dataclass
class Rows:
    """The lines of one image."""

    boxes: list[Row] = field(default_factory=list)
    size: tuple[int, int] | None = None  # where the table has it


def table(job: Job) -> Iterator[LabelledImage]:
    """A table of corners, of sides with a corner or the centre, or of four points.

    In pixels, or in shares of the sides if no number of the table is beyond 0 and 1.
    """
    images, layout = grouped(job, refuse_ids=True)
    sides = [side for rows in images.values() for _, box in rows.boxes for side in box]
    relative = bool(sides) and all(-SHARES_SLACK <= side <= 1 + SHARES_SLACK for side in sides)
    if relative:
        job.notes.append("the boxes lie within 0 and 1: read as shares of the images' sides")
    job.find_images(list(images))
    if layout == UNKNOWN:
        layout = fitting_layout(job, images, relative=relative)
    for name, rows in images.items():
        yield labelled_image(job, name, rows, layout, relative=relative)


def openimages(job: Job) -> Iterator[LabelledImage]:
    """Open Images' csv: shares of the sides, and ids of images without a suffix."""
    images, layout = grouped(job)
    names = class_descriptions(job, {label for rows in images.values() for label, _ in rows.boxes})
    for name, rows in images.items():
        rows.boxes = [(names.get(label) or label, box) for label, box in rows.boxes]
        yield labelled_image(job, job.found(name) or name, rows, layout, relative=True)


def class_descriptions(job: Job, labels: set[str]) -> dict[str, str]:
    """Names of Open Images' classes by id, such as /m/01g317, from the file beside the input."""
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
                label = class_name(job.class_name or cells[columns.label])
                rows.boxes.append((label, numbers_of(values)))
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


def fitting_layout(job: Job, images: dict[str, Rows], *, relative: bool) -> tuple[str, ...]:
    """Whether boxes are corners or sides, by what fits more of them; a note says which.

    Args:
        relative: whether the numbers are shares of the image's sides.
    """
    fitting = dict.fromkeys((SIDES, CORNERS), 0)
    for name, rows in images.items():
        limits = (1, 1) if relative else rows.size or job.size_of(name)
        numbers = np.array([box for _, box in rows.boxes], np.float64).reshape(-1, 4)
        for layout in fitting:
            corners = as_corners(numbers, layout)
            is_box = (corners[:, 2:] > corners[:, :2]) & (corners[:, 2:] <= limits)
            fitting[layout] += int(is_box.all(axis=1).sum())
    layout = max(fitting, key=fitting.get)
    names = "x, y, width and height" if layout == SIDES else "two corners"
    job.notes.append(f"the four numbers of a box were read as {names}")
    return layout


def as_corners(numbers: np.ndarray, layout: tuple[str, ...]) -> np.ndarray:
    """Corners (N,4) of boxes by four numbers each."""
    if layout == CORNERS:
        return numbers
    low = numbers[:, :2] - (numbers[:, 2:] / 2 if layout == CENTRES else 0)
    return np.hstack([low, low + numbers[:, 2:]])


def labelled_image(
    job: Job, name: str, rows: Rows, layout: tuple[str, ...], *, relative: bool
) -> LabelledImage:
    """An image with its boxes, `relative` to its size or in pixels."""
    size = rows.size or (job.size_of(name) if relative else None)
    numbers = np.array([values for _, values in rows.boxes], np.float64).reshape(-1, 4)
    corners = as_corners(numbers * np.tile(size, 2) if relative else numbers, layout)
    what = f"boxes of {', '.join(layout)}"
    if layout == CORNERS:
        what += "; if they are x, y, w, h, let the heading say so"
    with reading(f"{job.input}: image {name!r}", what):
        boxes = [labelled(own, box) for (own, _), box in zip(rows.boxes, corners.tolist())]
    return LabelledImage(name, size, boxes)


def finite(text: str) -> float:
    """The number in a cell; ValueError where it is none."""
    if DECIMAL_COMMA.fullmatch(text):
        raise InputError(f"{text!r} has a decimal comma; expected {text.replace(',', '.')}")
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r}; expected a finite number")
    return value


def rows_of(
    path: Path, refuse_ids: bool, *, has_class: bool
) -> Iterator[tuple[int, list[str], Columns]]:
    """Line number and cells of each box, and what the columns are."""
    with reading(str(path), "a table"), path.open(encoding="utf-8-sig", newline="") as file:
        separator = max(SEPARATORS, key=file.readline().count)
        file.seek(0)
        reader = csv.reader(file, delimiter=separator)
        rows = ((reader.line_num, cells) for cells in reader if any(c.strip() for c in cells))
        first = list(islice(rows, 1))
        if not first:
            return
        columns = find_columns(path, first[0][1], refuse_ids=refuse_ids, has_class=has_class)
        needed = columns.needed()
        for line, cells in chain([] if columns.has_heading else first, rows):
            if len(cells) < needed:
                raise InputError(f"{path}: line {line}: {len(cells)} cells; expected {needed}")
            yield line, cells, columns
