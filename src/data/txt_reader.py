"""Reads a text file of boxes: one image a line, its path and `xmin,ymin,xmax,ymax,class` each."""

import os
import re
from contextlib import suppress
from pathlib import Path

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.building import Builder
from src.data.images import Folder, read_size
from src.data.problems import Problems
from src.data.reader import Files, Reader
from src.runtime.errors import InputError
from src.runtime.files import check_file

# a path, in quotes if it has spaces, and the rest
LINE = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^\s"']\S*))(?:\s+(.*))?$""")


def find_txt(cfg: Config, *, training: bool) -> tuple[Path, Path]:
    """Annotation file and image folder of formats with one file a split, by their keys."""
    key = "anno_path" if training else "val_anno_path"
    if not cfg[key]:
        without = "" if training else ", or train with --eval_interval=0"
        raise InputError(f"--{key} is needed{without}")
    check_file(cfg, key)
    if not os.path.isdir(cfg.image_dir):
        raise InputError(f"{cfg.image_dir or 'image_dir'}: no such folder; check --image_dir")
    return Path(cfg[key]), Path(cfg.image_dir)


def read_txt(
    path: Path, image_dir: Path, classes: tuple[str, ...], *, drop_unlisted: bool = False
) -> tuple[Annotations, Problems]:
    """Reads a text file, as `Reader.read`; an image's id is the number of its line.

    A line without boxes is an image without objects. The images' sizes come from their headers. A
    box's class is an index into `classes`; another is an error, whatever `drop_unlisted`.
    """
    problems = Problems(path)
    folder = Folder(image_dir)
    builder = Builder(problems, classes)
    for number, text in image_lines(path):
        with problems.at(f"line {number}"):
            name, fields = split_line(text)
            builder.note_line(name, number)
            builder.add_image(name, number, find_size(folder, name, fields))
            for position, item in enumerate(fields, 1):
                where = f"line {number}, box {position}"
                with problems.at(where):
                    builder.add_box(where, *parse_box(item, classes))
    return builder.build(image_dir), problems


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a UTF-8 text file but blank ones; InputError where it cannot be read."""
    try:
        lines = enumerate(Path(path).read_text(encoding="utf-8-sig").split("\n"), 1)
        return [(number, text.strip()) for number, text in lines if text.strip()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: line {line}: not UTF-8 text") from error


def image_lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of the lines that name an image; others are blank or start with #."""
    return [line for line in numbered_lines(path) if not line[1].startswith("#")]


def image_names(path: Path) -> list[str]:
    """The paths that the lines name; malformed lines are skipped."""
    names = []
    for _, text in image_lines(path):
        with suppress(InputError):
            names.append(split_line(text)[0])
    return names


def split_line(text: str) -> tuple[str, list[str]]:
    """The path and the fields after it; InputError where there is no path."""
    match = LINE.match(text)
    if match is None:
        raise InputError("expected a path, in quotes if it has spaces, and then the boxes")
    return match[1] or match[2] or match[3], (match[4] or "").split()


def find_size(folder: Folder, name: str, fields: list[str]) -> tuple[int, int]:
    """Width and height of the image in pixels; InputError where it cannot be read."""
    path = folder.path / name
    if not folder.holds(name):
        hint = "; a path with spaces goes in quotes" if fields and "," not in fields[0] else ""
        raise InputError(f"no such file {path}{hint}")
    return read_size(path)


def parse_box(item: str, classes: tuple[str, ...]) -> tuple[tuple[float, ...], int]:
    """The box (x1, y1, x2, y2) and the label of a field; InputError where it is malformed."""
    values = item.replace("_", "?").split(",")  # Python would take 1_0 for 10
    try:
        *box, index = (*map(float, values[:4]), int(values[4]))
    except (ValueError, IndexError):
        values = []
    if len(values) != 5:
        expected = "xmin,ymin,xmax,ymax,class: four numbers and a whole one"
        raise InputError(f"{item!r}: expected {expected}")
    if not 1 <= index < len(classes):
        background = " (0 is the background)" if index == 0 else ""
        have = f"classes has 1 to {len(classes) - 1}"
        raise InputError(f"{item!r}: class {index}{background}; {have}")
    return tuple(box), index - 1


def inputs(path: Path, image_dir: Path) -> tuple[Files, Files]:
    """The text file by content, the images by date: their sizes are read from their headers."""
    return [path], [image_dir / name for name in image_names(path)]


TXT = Reader("anno_path", find_txt, read_txt, inputs)
