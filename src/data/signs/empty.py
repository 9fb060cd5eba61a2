"""Signs of images to train on without objects that were probably not annotated."""

import re

import numpy as np

from src.data.annotations import Annotations
from src.data.signs.sign import Sign, first_ids
from src.runtime.text import count

LEAST_EMPTY, LEAST_OTHERS = 10, 5  # images without objects, and with objects, for a sign
MANY = 0.2  # share of the images that a block of empty ones has at least
MOST = 2 / 3  # share of the images that is suspicious without a block
NUMBER = re.compile(r"(\d+)")


def empty_images(annotations: Annotations) -> Sign | None:
    """Most images without objects; or many, which are the last, or first, ones by name."""
    empty = annotations.object_counts() == 0
    if empty.sum() < LEAST_EMPTY or empty.all():
        return None
    place = block_of(annotations, empty)
    if not place and empty.mean() < MOST:
        return None
    rows = np.flatnonzero(empty)
    return Sign(
        "empty_images",
        found=f"{len(rows):,} of {count(len(empty), 'image')} to train on have no objects"
        + (place or f" ({annotations.listed(rows)})"),
        cause="Probably a part of them is not annotated",
        advice="an image without objects is trained on as background, and objects in it as such; "
        "annotate them, or leave these images out with --keep_empty=False",
        image_ids=first_ids(annotations.image_ids[rows]),
    )


def block_of(annotations: Annotations, empty: np.ndarray) -> str:
    """Which images by name the empty ones (I,) bool are, if they are many in a row; else ""."""
    number = int(empty.sum())
    if number < MANY * len(empty) or len(empty) - number < LEAST_OTHERS:
        return ""
    names = [annotations.file_name(row) for row in range(len(empty))]
    order = np.array(sorted(range(len(names)), key=lambda row: natural(names[row])))
    if (np.diff(empty[order].astype(int)) != 0).sum() != 1:
        return ""
    side = "before" if empty[order[0]] else "after"
    order = order[::-1] if side == "before" else order
    last, first = (names[order[len(order) - number + step]] for step in (-1, 0))
    if NUMBER.sub("", last) != NUMBER.sub("", first):  # named after what is in them
        return ""
    return f", all of them {side} {last}"


def natural(name: str) -> list:
    """A key that sorts names with numbers as people do."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in NUMBER.split(name)]
