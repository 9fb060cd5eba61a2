"""Reads a text file of boxes: one image a line, its path and `xmin,ymin,xmax,ymax,class` each."""

import re
from pathlib import Path

from src.data.annotations import Annotations
from src.data.building import Builder
from src.data.images import Folder, read_size
from src.data.problems import Problems
from src.runtime.errors import InputError

# a path, in quotes if it has spaces, and the rest
LINE = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^\s"']\S*))(?:\s+(.*))?$""")


def read_txt(path: Path, image_dir: Path, classes: tuple[str, ...]) -> tuple[Annotations, Problems]:
    """Reads a text file; an image's id is the number of its line.

    Blank lines and lines that start with # are skipped. A line without boxes is an image without
    objects. The images' sizes come from their headers.

    Args:
        path: the text file, UTF-8.
        image_dir: folder its paths are relative to.
        classes: names, 'background' first; a box's class is an index into it.

    Returns:
        What is usable, and what is wrong with the rest.

    Raises:
        InputError: the file cannot be read.
    """
    problems = Problems(path)
    folder = Folder(image_dir)
    builder = Builder()
    line_of: dict[str, int] = {}
    for number, text in image_lines(path):
        try:
            name, fields = split_line(text)
            if name in line_of:
                raise InputError(f"{name} is on line {line_of[name]} already")
            line_of[name] = number
            builder.add_image(name, number, find_size(folder, name, fields))
        except InputError as error:
            problems.error(f"line {number}", str(error))
            continue
        for position, item in enumerate(fields, 1):
            where = f"line {number}, box {position}"
            try:
                builder.add_box(where, *parse_box(item, classes))
            except InputError as error:
                problems.error(where, f"{item!r}: {error}")
    annotations = builder.build(
        problems,
        format="other",
        source=path,
        image_dir=image_dir,
        category_ids=tuple(range(1, len(classes))),
    )
    return annotations, problems


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file; InputError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line}: not UTF-8 text") from error


def image_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of the lines that name an image."""
    lines = [(number, text.strip()) for number, text in enumerate(read_lines(path), 1)]
    return [(number, text) for number, text in lines if text and not text.startswith("#")]


def image_names(path: Path) -> list[str]:
    """The paths that the lines name, as far as they can be made out."""
    matches = [LINE.match(text) for _, text in image_lines(path)]
    return [named(match) for match in matches if match]


def named(match: re.Match) -> str:
    """The path that LINE matched, in whichever quotes it was."""
    return next(name for name in match.groups()[:3] if name)


def split_line(text: str) -> tuple[str, list[str]]:
    """The path and the fields after it; InputError where there is no path to be made out."""
    match = LINE.match(text)
    if match is None:
        raise InputError("expected a path, in quotes if it has spaces, and then the boxes")
    return named(match), (match.group(4) or "").split()


def find_size(folder: Folder, name: str, fields: list[str]) -> tuple[int, int]:
    """Width and height of the image; InputError where there is none to be read."""
    path = folder.path / name
    if not folder.holds(name):
        hint = "; a path with spaces goes in quotes" if fields and "," not in fields[0] else ""
        raise InputError(f"no such file {path}{hint}")
    return read_size(path)


def parse_box(item: str, classes: tuple[str, ...]) -> tuple[tuple[float, ...], int]:
    """The box (x1, y1, x2, y2) and the label of a field; InputError says what is wrong with it."""
    values = item.replace("_", "?").split(",")  # Python would take 1_0 for 10
    try:
        *box, index = (*map(float, values[:4]), int(values[4]))
    except (ValueError, IndexError):
        values = []
    if len(values) != 5:
        raise InputError("expected xmin,ymin,xmax,ymax,class: four numbers and a whole one")
    if not 1 <= index < len(classes):
        background = " (0 is the background)" if index == 0 else ""
        raise InputError(f"class {index}{background}; classes has 1 to {len(classes) - 1}")
    return tuple(box), index - 1
