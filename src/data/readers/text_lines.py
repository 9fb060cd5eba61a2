"""Lines of a text file, and what a file holds that is not in our text format."""

import re
from pathlib import Path

from src.data.files.recognise import converting
from src.data.files.strange_files import HEAD, strange_file
from src.runtime.errors import InputError
from src.runtime.special_files import refuse_special

LOOKED_AT = 50  # lines that tell the format
LEAST_COLUMNS, LEAST_NUMBERS = 5, 4  # of a table with a box in each row
# separators of a table's columns, and what they are called
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
# in a line that is ours; a field may lack or a further one be there, which is an error of the box
BOX = re.compile(r"""(?<![,\s])\s+["']?[+-]?[\d.]+(,[^\s,]+){3,6}(\s|["']|$)""")
HEADER = re.compile(r"\W*(x_?min|xmax|x1|x2|left|bbox|box|width|class|label)\W*$", re.IGNORECASE)
JSON_START = re.compile(r"""\{\s*(["}]|$)|\[\s*([{\["\]]|$)""")
FORMAT = "a line for each image: PATH xmin,ymin,xmax,ymax,class ..."


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file but blank ones; InputError where it cannot be read.

    Bytes that are not UTF-8 are held as in file names.
    """
    try:
        refuse_special(path)
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if kind := strange_file(data[:HEAD]):
        raise InputError(f"{path}: is {kind}")
    if b"\0" in data:
        is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        hint = "UTF-16; save it as UTF-8" if is_wide else "not text: it has null bytes"
        raise InputError(f"{path}: is {hint}")
    lines = enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), 1)
    return [(number, text.strip()) for number, text in lines if text.strip()]


def image_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of the lines that name an image; others are blank or start with #.

    InputError where the file holds something else.
    """
    lines = [line for line in numbered_lines(path) if not line[1].startswith("#")]
    if kind := other_format([text for _, text in lines[:LOOKED_AT]], path):
        raise InputError(f"{path}: {kind}")
    return lines


def other_format(lines: list[str], path: Path) -> str:
    """What the first lines of a file are if not our format, and what to do; else ""."""
    if not lines:
        return ""
    shown = f"its first line is {lines[0][:60]!r}"
    if JSON_START.match(lines[0]):
        others = f"of another tool {converting(path)}, TOOL is labelme, via or createml"
        return f"is JSON; --dataset=coco reads COCO's, {others}"
    if lines[0].startswith("<"):
        others = f"of another tool {converting(path)}, TOOL is cvat or voc"
        return f"is XML; --dataset=voc reads Pascal VOC's folders, {others}"
    if all(map(is_yolo, lines)):
        return (
            f"has the boxes of one image, as YOLO writes them ({shown}); --dataset=yolo reads those"
        )
    separator = table_separator(lines)
    if separator == " ":
        return f"has the numbers of a box apart by spaces ({shown}); expected {FORMAT}"
    if separator:
        what = f"has columns apart by {SEPARATORS[separator]}, as CSV ({shown})"
        return f"{what}; expected {FORMAT}; {converting(path, 'csv')}"
    return ""


def table_separator(lines: list[str]) -> str:
    """What is between the columns of a table of boxes; "" where the lines are none."""
    if not lines or any(map(BOX.search, lines)):
        return ""
    tables = (s for s in SEPARATORS if is_table([columns(line, s) for line in lines]))
    return next(tables, "")


def columns(line: str, separator: str) -> list[str]:
    """The columns of a line."""
    return line.split() if separator == " " else line.split(separator)


def is_yolo(line: str) -> bool:
    """Whether the line is a class and four or more shares of an image's sides."""
    words = line.split()
    is_box = len(words) >= 5 and words[0].isdecimal() and all(map(NUMBER.match, words))
    return is_box and all(0 <= float(word) <= 1 for word in words[1:])


def is_table(rows: list[list[str]]) -> bool:
    """Whether every row has the columns of one box, of an image without boxes, or a heading."""

    def is_row(row: list[str]) -> bool:
        if len(row) < LEAST_COLUMNS:
            return False
        numbers = sum(bool(NUMBER.match(cell)) for cell in row)
        is_heading = any(map(HEADER.match, row)) and not numbers
        return numbers >= LEAST_NUMBERS or is_heading or not any(cell.strip() for cell in row[1:])

    return all(map(is_row, rows))
