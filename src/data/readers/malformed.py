"""What is wrong with a record that others of the file probably have too, and what to do."""

import re

from src.runtime.errors import InputError

SHOWN = 60  # letters of a line
LEAST_BOX = 4  # numbers
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
IS_NAME = re.compile(r"[^\d\s.+-].*").fullmatch  # no misspelled number
PERCENT = 100.0


class MalformedRecord(InputError):
    """An error of one record; those of others with the same `cause` are reported with it."""

    def __init__(self, found: str, expected: str):
        super().__init__(f"{found}{expected}")
        self.cause = expected


def numbers_of(words: list[str]) -> list[float | None]:
    """The words as numbers; None for those that are none."""
    return [float(word) if NUMBER.fullmatch(word) else None for word in words]


def yolo_line(text: str) -> MalformedRecord:
    """The error of a line of YOLO's that is neither a box nor an outline."""
    words = text.split()
    found = numbers_of(words)
    what = "; expected class cx cy w h, or class x1 y1 x2 y2 x3 y3 ..., numbers apart by spaces"
    if "," in text:
        is_list = len(words) == 1 or all(word.endswith(",") for word in words[:-1])
        what = ": has commas between numbers" if is_list else ": has decimal commas, not points"
        what += "; expected class cx cy w h apart by spaces, as in '0 0.5 0.5 0.2 0.1'"
    elif None not in found and len(words) == LEAST_BOX + 2:
        what = ": has a number too many, probably a confidence; leave it out: class cx cy w h"
    elif words and IS_NAME(words[0]) and None not in found[1:]:
        what = ": has a class by name; expected its number in the names of data.yaml, from 0"
    elif len(words) == LEAST_BOX + 1 and found[-1] is not None and found[-1].is_integer():
        what = ": has its class behind the box; expected it in front: class cx cy w h"
    return MalformedRecord(repr(text[:SHOWN]), what)


def not_shares(text: str, values: list[float]) -> MalformedRecord:
    """The error of a line of YOLO's with numbers that are no shares."""
    value = next(value for value in values if not 0 <= value <= 1)
    what = "; expected shares of the sides, 0 to 1"
    if max(values) > 1 and min(values) >= 0:
        are = "pixels, or percent" if max(values) <= PERCENT else "pixels"
        what += f"; these are probably {are}: divide by the image's width and height"
        what += ", or by 100" if max(values) <= PERCENT else ""
    error = MalformedRecord(f"{text[:SHOWN]!r}: {value:g}", what)
    error.cause = "no shares"
    return error


def text_box(item: str, expected: str) -> MalformedRecord:
    """The error of a box of a text file."""
    words = item.split(",")
    found = numbers_of(words)
    what = f": expected {expected}: four numbers, and a class's name or whole number"
    boxes = [value for value in found[1:] if value is not None]
    if len(words) == LEAST_BOX + 2 and None not in found[: LEAST_BOX + 1]:
        what = f": has a value too many, probably a confidence; expected {expected}"
    elif len(words) == LEAST_BOX + 1 and IS_NAME(words[0]) and len(boxes) == LEAST_BOX:
        what = f": has its class in front; expected it last: {expected}"
    elif len(words) == LEAST_BOX + 1 and len(boxes) == LEAST_BOX and max(boxes) <= 1:
        what = f": is a class and shares of the sides, as YOLO writes; expected pixels: {expected}"
    elif len(words) == LEAST_BOX + 1 and None not in found and found[-1].is_integer():
        what = f": has a class with a point; expected its name or a whole number: {expected}"
    return MalformedRecord(repr(item), what)
