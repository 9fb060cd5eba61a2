"""The boxes of a line of a text file, and the classes that they have."""

import os
import re
from pathlib import Path

from src.config.class_list import is_background
from src.data.problems import MalformedRecord
from src.data.readers.building import Builder
from src.data.readers.text_lines import numbered_lines
from src.runtime.errors import InputError
from src.runtime.text import is_number

# a box, in quotes if the name of its class has spaces
FIELD = re.compile(r"""("[^"]*"|'[^']*'|\S+)""")
BOX = "xmin,ymin,xmax,ymax,class"
PARTS = "four numbers, and a class's name or whole number"
QUOTES = ": a path with spaces, or a box whose class has them in its name, goes in quotes"
WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
CLASS_FILE = "classes.txt"  # beside the text file: a name a line
MAX_NUMBER = 10_000  # of a class without a name; a larger one is a slip


def split_fields(name: str, text: str | None) -> list[str]:
    """The boxes of a line behind the name of its image, without their quotes.

    InputError where there are spaces in the name or in a box, but no quotes around it.
    """
    fields = [field.strip("\"'") for field in FIELD.findall(text or "")]
    for before, item in zip([name, *fields], fields):
        if item.startswith(",") or item.endswith(","):
            raise MalformedRecord(repr(item), f": expected no spaces within a box: {BOX}")
        if "," not in item:
            raise MalformedRecord(repr(f"{before} {item}"), QUOTES)
    return fields


def add_boxes(builder: Builder, line: str, fields: list[str]) -> None:
    """Adds the boxes of the image that was added last."""
    for position, item in enumerate(fields, 1):
        where = f"{line}, box {position}"
        with builder.problems.at(where):
            box, name = parse_box(item)
            if WHOLE.fullmatch(name):
                builder.add_box(where, box, label_of(item, int(name), builder.classes))
            else:
                builder.add_named(where, box, name)


def parse_box(item: str) -> tuple[tuple[float, ...], str]:
    """The box (x1, y1, x2, y2) and the class of a field; InputError where it is malformed."""
    *sides, name = item.split(",")
    try:
        # Python would take 1_0 for 10
        box = tuple(float(side.replace("_", "?")) for side in sides)
    except ValueError:
        box = ()
    if len(box) != 4 or not name or (is_number(name) and not WHOLE.fullmatch(name)):
        raise MalformedRecord(repr(item), f": expected {BOX}: {PARTS}")
    return box, name


def label_of(item: str, index: int, classes: tuple[str, ...]) -> int:
    """The label of an index into `classes`; InputError where it is that of no class."""
    if not 1 <= index < len(classes):
        background = " (0 is the background, the first class is 1)" if index == 0 else ""
        have = f"classes has 1 to {len(classes) - 1}"
        raise MalformedRecord(f"{item!r}: class {index}{background}", f"; {have}")
    return index - 1


def name_classes(path: Path, lines_of: dict[str, int]) -> tuple[list[str], str]:
    """Those of CLASS_FILE beside the file, or the names of its boxes, or class_1 and so on.

    Args:
        path: the text file.
        lines_of: the classes of its boxes as they are written, with the first line of each.

    Returns:
        The names without background, and what they are.
    """
    listed = path.with_name(CLASS_FILE)
    if os.path.isfile(listed):
        return listed_classes(listed), f"the names in {listed}"
    numbers = {int(name): line for name, line in lines_of.items() if WHOLE.fullmatch(name)}
    names = sorted(name for name in lines_of if not WHOLE.fullmatch(name))
    advice = f"name the classes with --classes, or a line each in {listed}"
    if numbers and names:
        number, line = next(iter(numbers.items()))
        raise InputError(
            f"{path}: line {line} has a class by number ({number}), line {lines_of[names[0]]} by "
            f"name ({names[0]!r}); {advice}"
        )
    if not numbers:
        return names, "the classes of its boxes"
    for number in (min(numbers), max(numbers)):
        if not 0 < number <= MAX_NUMBER:
            expected = f"expected 1 to {MAX_NUMBER}, since 0 is the background"
            if number == 0:
                expected += (
                    f"; its boxes have 0 to {max(numbers)}: where these are counted from 0, add 1 "
                    "to each, or write the classes' names"
                )
            raise InputError(f"{path}: line {numbers[number]}: class {number}; {expected}")
    origin = f"its boxes have numbers for classes ({advice})"
    return [f"class_{number}" for number in range(1, max(numbers) + 1)], origin


def listed_classes(path: Path) -> list[str]:
    """The names in a file, one a line, without the background."""
    line_of: dict[str, int] = {}
    for line, name in numbered_lines(path):
        if name in line_of:
            raise InputError(f"{path}: line {line}: {name!r} is on line {line_of[name]} already")
        line_of[name] = line
    names = list(line_of)
    return names[1:] if names and is_background(names[0]) else names
