"""Entries of COCO's annotation file, and those of other tools that can be read all the same."""

import math
import os
import re
from typing import Any

import msgspec

from src.data.annotations import NAME_CODEC
from src.data.problems import MalformedRecord
from src.data.readers.building import MAX_SIDE
from src.runtime.errors import InputError
from src.runtime.text import shown

MAX_ID = 2**63  # ids are held in 64 bits
NO_FILES = ("", ".", "..")  # as the last part of a path
SHOWN = 60  # letters of a value
WHOLE = re.compile(r"\s*[+-]?\d{1,18}\s*")
AS_TEXT, FROM_OUTLINE = "number written as text", "box taken from the outline"
OTHER_NAMES = ("filename", "path", "name")  # of file_name in files of other tools
NUMBER_AS_NAME, SPACES = "number taken as a name", "spaces around the name left out"
NO_CROWD = "iscrowd without a value taken as 0"
BBOX = "4 numbers: x, y, width, height"
WHOLE_NUMBER = f"a whole number of at most {MAX_ID - 1:,}"


class ImageEntry(msgspec.Struct, gc=False):
    """An entry of "images". Fields that are not named here are skipped by the parser."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None
    filename: Any = None
    path: Any = None
    name: Any = None

    def is_usable(self) -> bool:
        return (
            is_id(self.id)
            and is_file_name(self.file_name)
            and is_side(self.width)
            and is_side(self.height)
        )

    def lacks_size(self) -> bool:
        """Whether there is neither width nor height."""
        return not self.width and not self.height

    def mend(self) -> set[str]:
        """Makes the entry usable, but for its size if it lacks one; returns what was done.

        InputError names the field that is not usable and its value.
        """
        done: set[str] = set()
        self.id = whole("id", self.id, done)
        if self.file_name is None:
            self.take_other_name(done)
        if not is_file_name(self.file_name):
            raise wrong("file_name", self.file_name, "the name of a file")
        if not self.lacks_size():
            for field in ("width", "height"):
                side = number(field, getattr(self, field), done)
                if not is_side(side):
                    raise wrong(field, getattr(self, field), f"a number of 1 to {MAX_SIDE - 1:,}")
                setattr(self, field, side)
        return done

    def take_other_name(self, done: set[str]) -> None:
        """Sets file_name, which is missing, from what other tools call it."""
        for field in OTHER_NAMES:
            if is_file_name(getattr(self, field)):
                self.file_name = getattr(self, field)
                done.add(f"{field} read as file_name")
                return


class BoxEntry(msgspec.Struct, gc=False):
    """An entry of "annotations"."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = 0

    def is_usable(self) -> bool:
        return (
            is_id(self.image_id)
            and is_id(self.category_id)
            and type(self.bbox) is list
            and len(self.bbox) == 4
            and all(type(v) is float or is_id(v) for v in self.bbox)
            and self.iscrowd in (0, 1)
        )

    def mend(self, outline: Any) -> set[str]:
        """Makes the entry usable as `ImageEntry.mend`; `outline` is its segmentation, if any."""
        done: set[str] = set()
        self.image_id = whole("image_id", self.image_id, done)
        self.category_id = whole("category_id", self.category_id, done)
        if not self.bbox and outline:
            self.bbox = box_around(outline)
            done.add(FROM_OUTLINE)
        if type(self.bbox) is not list or len(self.bbox) != 4:
            raise wrong("bbox", self.bbox, BBOX)
        try:
            self.bbox = [number("bbox", value, done) for value in self.bbox]
        except InputError as error:
            raise wrong("bbox", self.bbox, BBOX) from error
        if self.iscrowd is None:
            self.iscrowd = 0
            done.add(NO_CROWD)
        self.iscrowd = number("iscrowd", self.iscrowd, done)
        if self.iscrowd not in (0, 1):
            raise wrong("iscrowd", self.iscrowd, "0 or 1")
        return done

    def object_area(self) -> float:
        """The file's area in square pixels, mostly of an outline; the box's where it has none.

        Many tools write 0 or -1 for none.
        """
        is_area = type(self.area) in (int, float) and 0 < self.area < math.inf
        return self.area if is_area else self.bbox[2] * self.bbox[3]


class Category(msgspec.Struct):
    """An entry of "categories"."""

    id: Any = None
    name: Any = None
    supercategory: Any = None

    def mend(self) -> set[str]:
        """Makes the entry usable; returns what was done. InputError as `ImageEntry.mend`."""
        done: set[str] = set()
        self.id = whole("id", self.id, done)
        if type(self.name) is int:
            self.name = str(self.name)
            done.add(NUMBER_AS_NAME)
        if type(self.name) is not str or not self.name.strip():
            raise wrong("name", self.name, "the name of a class")
        if self.name != self.name.strip():
            self.name = self.name.strip()
            done.add(SPACES)
        return done


def is_id(value: Any) -> bool:
    """Whether it is a whole number of 64 bits; True and False are not."""
    return type(value) is int and -MAX_ID <= value < MAX_ID


def is_side(value: Any) -> bool:
    """Whether it is a number of at least one pixel."""
    return type(value) in (int, float) and 1 <= value < MAX_SIDE


def is_file_name(value: Any) -> bool:
    """Whether a file can be called so."""
    if type(value) is not str or "\0" in value or os.path.basename(value) in NO_FILES:
        return False
    try:
        value.encode(*NAME_CODEC)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def wrong(field: str, value: Any, expected: str) -> MalformedRecord:
    """Says that a field is not what was expected."""
    found = "missing" if value is None else shown(value, SHOWN)
    return MalformedRecord(f"{field} is {found}", f"; expected {expected}")


def whole(field: str, value: Any, done: set[str]) -> int:
    """The value as a whole number; adds to `done` if it was written otherwise."""
    if is_id(value):
        return value
    if type(value) is float and value.is_integer() and is_id(int(value)):
        return int(value)
    if type(value) is str and WHOLE.fullmatch(value):
        done.add(AS_TEXT)
        return int(value)
    raise wrong(field, value, WHOLE_NUMBER if type(value) in (int, float) else "a whole number")


def number(field: str, value: Any, done: set[str]) -> float:
    """The value as a number; adds to `done` if it was written otherwise."""
    if type(value) is float or is_id(value):
        return value
    if type(value) is bool and field == "iscrowd":
        return int(value)
    if type(value) is str and "_" not in value:  # Python would take 1_0 for 10
        try:
            found = float(value)
        except ValueError:
            found = math.nan
        if math.isfinite(found):
            done.add(AS_TEXT)
            return found
    raise wrong(field, value, "a number")


def box_around(outline: Any) -> list[float]:
    """The box x, y, width, height around polygons [[x1, y1, ...], ...]."""
    rings = outline if isinstance(outline, list) and isinstance(outline[0], list) else [outline]
    if not all(isinstance(ring, list) and ring and len(ring) % 2 == 0 for ring in rings):
        raise wrong("segmentation", outline, "polygons of x, y, or a bbox")
    try:
        xs = [float(x) for ring in rings for x in ring[0::2]]
        ys = [float(y) for ring in rings for y in ring[1::2]]
    except (TypeError, ValueError) as error:
        raise wrong("segmentation", outline, "polygons of numbers") from error
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
