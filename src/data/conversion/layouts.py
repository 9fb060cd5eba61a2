"""Tells what the four numbers of a table's boxes are, by all of them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from src.data.conversion.columns import CENTRES, CORNERS, SIDES, UNKNOWN
from src.data.conversion.job import Job
from src.runtime.errors import InputError

Row = tuple[str, tuple[float, ...]]  # class and four numbers of a box
NAMES = {CORNERS: "two corners", SIDES: "x, y, width and height", CENTRES: "centre and sides"}
SLACK = 0.01  # of the image's sides, that a box may be outside
LEAST, MANY = 3, 0.1  # boxes that do not fit as the heading has them, for a refusal
NEARLY_ALL = 0.95  # of the boxes, that fit otherwise then


@dataclass
class Rows:
    """The lines of one image."""

    boxes: list[Row] = field(default_factory=list)
    size: tuple[int, int] | None = None  # where the table has it


def as_corners(numbers: np.ndarray, layout: tuple[str, ...]) -> np.ndarray:
    """Corners (N,4) of boxes by four numbers each."""
    if layout == CORNERS:
        return numbers
    low = numbers[:, :2] - (numbers[:, 2:] / 2 if layout == CENTRES else 0)
    return np.hstack([low, low + numbers[:, 2:]])


def fits(numbers: np.ndarray, layout: tuple[str, ...], limits: np.ndarray) -> np.ndarray:
    """(N,) bool: whether boxes have an area and are inside of limits (N,2)."""
    corners = as_corners(numbers, layout)
    slack = SLACK * limits
    has_area = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    is_inside = (corners[:, :2] >= -slack).all(axis=1) & (corners[:, 2:] <= limits + slack).all(1)
    return has_area & is_inside


def settled_layout(
    job: Job,
    images: Mapping[str, Rows],
    layout: tuple[str, ...],
    *,
    relative: bool,
) -> tuple[str, ...]:
    """The layout of the boxes of a table, which may be UNKNOWN or named wrong in the heading.

    InputError where the heading's is nearly certainly wrong. A note says what was taken, and how
    many boxes have their corners in another order.

    Args:
        images: the table's `Rows` by the names of the images.
        relative: whether the numbers are shares of the image's sides.
    """
    numbers = np.array([box for rows in images.values() for _, box in rows.boxes], np.float64)
    if len(numbers) == 0:
        return CORNERS if layout == UNKNOWN else layout
    sizes = [(1, 1) if relative else size_of(job, *item) for item in images.items()]
    limits = np.repeat(sizes, [len(rows.boxes) for rows in images.values()], axis=0)
    fitting = {name: fits(numbers, name, limits) for name in (SIDES, CORNERS)}
    if layout == UNKNOWN:
        layout = max(fitting, key=lambda name: fitting[name].sum())
        job.notes.append(f"the four numbers of a box were read as {NAMES[layout]}")
    refuse_other(job, numbers, layout, limits, fitting)
    if layout == CORNERS:
        reverse = int((numbers[:, 2:] < numbers[:, :2]).any(axis=1).sum())
        if reverse:
            job.notes.append(
                f"{reverse:,} of {len(numbers):,} boxes have xmax below xmin, or ymax below ymin: "
                "their corners were put in order"
            )
    return layout


def refuse_other(
    job: Job,
    numbers: np.ndarray,
    layout: tuple[str, ...],
    limits: np.ndarray,
    fitting: dict[tuple[str, ...], np.ndarray],
) -> None:
    """InputError where many boxes do not fit by their heading, and nearly all otherwise."""
    wrong = ~fits(numbers, layout, limits)
    if wrong.sum() < LEAST or wrong.mean() < MANY:
        return
    for other, fit in fitting.items():
        if other != layout and fit.mean() >= NEARLY_ALL:
            first = ", ".join(f"{value:.6g}" for value in numbers[wrong.argmax()])
            raise InputError(
                f"{job.input}: {int(wrong.sum()):,} of {len(numbers):,} boxes are outside of their "
                f"image or without area as {NAMES[layout]} (first: {first}), and "
                f"{int(fit.sum()):,} fit as {NAMES[other]}; call the columns {', '.join(other)}"
            )


def size_of(job: Job, name: str, rows: Rows) -> tuple[float, float]:
    """Width and height of an image, without limits where nothing tells them."""
    if rows.size:
        return rows.size
    with suppress(InputError):
        return job.size_of(name)
    return np.inf, np.inf
