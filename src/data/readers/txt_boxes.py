"""The boxes of a line of a text file, and the classes that they have."""

import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import yaml

from src.config.class_list import is_background
from src.config.keys import YAML_ERRORS
from src.data.problems import MIN_ALIKE
from src.data.readers.building import Builder
from src.data.readers.malformed import MalformedRecord, text_box
from src.data.readers.text_lines import numbered_lines
from src.runtime.errors import InputError
from src.runtime.text import is_number

# a box, in quotes if the name of its class has spaces
FIELD = re.compile(r"""("[^"]*"|'[^']*'|\S+)""")
BOX = "xmin,ymin,xmax,ymax,class"
WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
NUMBERED = re.compile(r"([0-9]{1,9})(?:\s*[:,;=.]\s*|\s+)(.+)")  # a class in a list, as "0: cat"
LIST = re.compile(r"\[|- |names *:")  # how one begins in YAML or JSON
QUOTED = re.compile(r"""(["'])(.*)\1""")
CLASS_FILE = "classes.txt"  # beside the text file: a name a line
MUCH_MORE = 5  # times as many values as a class's number has
SHOWN = 5  # values
MAX_NUMBER = 10_000  # of a class without a name; a larger one is a slip


def split_fields(text: str | None) -> list[str]:
    """The boxes of a line, without their quotes."""
    return [field.strip("\"'") for field in FIELD.findall(text or "")]


def add_boxes(builder: Builder, line: str, fields: list[str], numbers: Counter[int]) -> None:
    """Adds the boxes of the image that was added last; InputError where spaces are in them.

    `numbers` counts the classes by number.
    """
    for item in fields:
        if item.startswith(",") or item.endswith(","):
            raise MalformedRecord(repr(item), f": expected no spaces within a box: {BOX}")
    for before, item in zip(fields, fields[1:]):
        if "," not in item:
            what = ": a box whose class has spaces in its name goes in quotes"
            raise MalformedRecord(repr(f"{before} {item}"), what)
    for position, item in enumerate(fields, 1):
        where = f"{line}, box {position}"
        with builder.problems.at(where):
            box, name = parse_box(item)
            if WHOLE.fullmatch(name):
                numbers[int(name)] += 1
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
        raise text_box(item, BOX)
    return box, name


def label_of(item: str, index: int, classes: tuple[str, ...]) -> int:
    """The label of an index into `classes`; InputError where it is that of no class."""
    if not 1 <= index < len(classes):
        background = " (0 is the background, the first class is 1)" if index == 0 else ""
        have = f"classes has 1 to {len(classes) - 1}"
        raise MalformedRecord(f"{item!r}: class {index}{background}", f"; {have}")
    return index - 1


def class_in_front(boxes: list[tuple[tuple[float, ...], str]]) -> str:
    """What is said where boxes probably begin with the number of their class; else ""."""
    firsts = {box[0] for box, _ in boxes}
    lasts = {name for _, name in boxes if WHOLE.fullmatch(name)}
    is_class = all(value.is_integer() and 0 <= value <= MAX_NUMBER for value in firsts)
    if not is_class or len(firsts) * MUCH_MORE > len(lasts) or not boxes:
        return ""
    few = ", ".join(f"{value:g}" for value in sorted(firsts)[:SHOWN])
    return (
        f"its {len(boxes):,} boxes begin with few numbers ({few}) and end with many, so the class "
        f"is probably in front; expected it last: {BOX}"
    )


def counted_from_zero(numbers: Counter[int], classes: tuple[str, ...]) -> str:
    """What to do where the classes by number are probably counted from 0; else ""."""
    if numbers[0] < MIN_ALIKE or min(numbers) < 0 or max(numbers) >= len(classes) - 1:
        return ""
    return (
        f"classes by number are {min(numbers)} to {max(numbers)}, so probably counted from 0; "
        "add 1 to each, since 0 is the background, or write their names"
    )


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
        return listed_classes(listed, set(lines_of)), f"the names in {listed}"
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


def listed_classes(path: Path, used: set[str]) -> list[str]:
    """The names in a file, one a line, without the background.

    Numbers in front that count the lines are left out, or if the `used` classes of boxes are the
    names without them. One line may have all names, and the file may be a list in YAML or JSON.
    """
    lines = unquoted(numbered_lines(path))
    pairs = [NUMBERED.fullmatch(text) for _, text in lines]
    if pairs and all(pairs):
        numbers = [int(pair[1]) for pair in pairs]
        counts = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if (counts and numbers[0] in (0, 1)) or 0 < len(used) == len(used & {p[2] for p in pairs}):
            lines = [(line, pair[2]) for (line, _), pair in zip(lines, pairs)]
    elif len(lines) == 1 and "," in lines[0][1]:
        lines = [(lines[0][0], name.strip().strip("\"'")) for name in lines[0][1].split(",")]
    if lines and is_background(lines[0][1]):
        lines = lines[1:]
    line_of: dict[str, int] = {}
    for line, name in lines:
        if name in line_of:
            raise InputError(f"{path}: line {line}: {name!r} is on line {line_of[name]} already")
        line_of[name] = line
    return list(line_of)


def unquoted(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines without quotes around them; of a list in YAML or JSON its items."""
    if lines and LIST.match(lines[0][1]):
        with suppress(*YAML_ERRORS):
            found = yaml.load("\n".join(text for _, text in lines), yaml.BaseLoader)
            found = found.get("names") if isinstance(found, dict) else found
            found = list(found.values()) if isinstance(found, dict) else found
            if isinstance(found, list) and all(isinstance(name, str) for name in found):
                return list(enumerate(found, 1))
    quoted = [(line, QUOTED.fullmatch(text)) for line, text in lines]
    return [(line, name[2]) for line, name in quoted] if all(n for _, n in quoted) else lines
