"""What is suspicious about a split as a whole, though each record may be valid alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.runtime.errors import InputError
from src.runtime.text import printable, suggestion

MAX_IMAGES = 100  # images that a sign lists, for pictures of them
FOLDERS = "folders"  # folders in front of the names of images; an error of the files, no Sign
NAMES = (  # what the key `accept` takes
    "shares", "percent", "box_format", "swapped_axes", "outside",
    "upper_left", "whole_image", "double_boxes",
    "two_classes", "empty_images", "key_points", "turned", "orientation", "same_file",
    "equal_images", "leak", "pixel_range",
    "unused_class", "absent_class", "alike_classes",
    "no_objects", "unmatched", "tiny", "no_effect", FOLDERS,
)  # fmt: skip


@dataclass(frozen=True)
class Sign:
    """Something suspicious: what was found, its likely cause, and what to do."""

    name: str  # one of NAMES
    found: str  # with counts and first examples
    cause: str
    advice: str
    certain: bool = False  # nearly; then it is an error unless it is accepted
    image_ids: tuple[int, ...] = ()  # the first images that have it, if it is not of all
    boxes: tuple[tuple[float, ...], ...] = ()  # of each of them the box x1, y1, x2, y2 that has it
    # images that are the same, or to be compared; with `across` the last is of the other split
    groups: tuple[tuple[int, ...], ...] = ()
    across: bool = False

    def text(self) -> str:
        """All but the name; the flag that overrules where it is certain."""
        overrule = f"; if it is right as it is, --accept=[{self.name}]" if self.certain else ""
        return f"{self.found}. {self.cause}: {self.advice}{overrule}"

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.text()}")


def those_found(*signs: Sign | None) -> tuple[Sign, ...]:
    """The signs that are not None."""
    return tuple(sign for sign in signs if sign is not None)


def first_ids(image_ids: np.ndarray) -> tuple[int, ...]:
    """The first images of (N,) ids, each once."""
    return tuple(np.unique(image_ids)[:MAX_IMAGES].tolist())


def first_boxes(image_ids: np.ndarray, boxes: np.ndarray) -> dict[str, tuple]:
    """The images of a Sign, of (N,) ids, each with the first of its boxes (N,4)."""
    ids, firsts = np.unique(image_ids, return_index=True)
    return {
        "image_ids": tuple(ids[:MAX_IMAGES].tolist()),
        "boxes": tuple(map(tuple, boxes[firsts[:MAX_IMAGES]].tolist())),
    }


def check_accept(accept: Sequence[str]) -> None:
    """InputError where a name is not that of a sign."""
    for name in accept:
        if name not in NAMES:
            hint = suggestion(name, NAMES) or f"; known are {', '.join(NAMES)}"
            raise InputError(f"accept has {name!r}, which is no sign{hint}")
