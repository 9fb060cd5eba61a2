"""Reads a text file of boxes: one image a line, its path and `xmin,ymin,xmax,ymax,class` each."""

import os
import re
from contextlib import suppress
from pathlib import Path

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.files.folder import Folder
from src.data.files.image_files import SEARCH, Search
from src.data.images import read_size
from src.data.problems import Problems
from src.data.readers.building import Builder
from src.data.readers.reader import Files, Reader
from src.data.readers.splits import needed
from src.data.readers.text_lines import image_lines
from src.data.readers.txt_boxes import (
    add_boxes,
    name_classes,
    parse_box,
    split_fields,
)
from src.runtime.errors import InputError
from src.runtime.files import check_file
from src.runtime.near_path import no_folder

# a path, in quotes if it has spaces, and the rest
LINE = re.compile(r"""(?:"([^"]+)"|'([^']+)'|([^\s"']\S*))(?:\s+(.*))?$""")
ONE_LINE = "; expected one line for each image, with all its boxes"


def find_txt(cfg: Config, *, training: bool) -> tuple[Path, Path]:
    """Annotation file and image folder of formats with one file a split, by their keys."""
    key = "anno_path" if training else "val_anno_path"
    if not cfg[key]:
        raise needed(key, training=training)
    check_file(cfg, key)
    if not os.path.isdir(cfg.image_dir):
        raise InputError(f"{no_folder(cfg.image_dir or 'image_dir')}; check --image_dir")
    return Path(cfg[key]), Path(cfg.image_dir)


def read_txt(
    path: Path,
    image_dir: Path,
    classes: tuple[str, ...],
    *,
    drop_unlisted: bool = False,
    search: Search = SEARCH,
) -> tuple[Annotations, Problems]:
    """Reads a text file, as `Reader.read`; an image's id is the number of its line.

    A line without boxes is an image without objects. The images' sizes come from their headers. A
    box's class is its name, or an index into `classes`; another index is an error, whatever
    `drop_unlisted`.
    """
    problems = Problems(path)
    finder = search.finder(image_dir, problems)
    builder = Builder(problems, classes, drop_unlisted=drop_unlisted)
    for number, text in image_lines(path):
        line = f"line {number}"
        with problems.at(line, number):
            name, fields = split_line(text)
            if found := finder.find(line, name, number):
                builder.note_line(found, number, ONE_LINE)
                builder.add_image(found, number, read_size(image_dir / found))
                add_boxes(builder, line, fields)
    finder.report()
    return builder.build(image_dir), problems


def image_names(path: Path, folder: Folder) -> list[str]:
    """The images that the lines name, as on disk; malformed lines are skipped."""
    names = []
    for _, text in image_lines(path):
        with suppress(InputError):
            name, _ = split_line(text)
            names.append(folder.resolve(name)[0] or name)
    return names


def split_line(text: str) -> tuple[str, list[str]]:
    """The path and the boxes after it; InputError where there is no path."""
    match = LINE.match(text)
    if match is None:
        raise InputError("expected a path, in quotes if it has spaces, and then the boxes")
    name = match[1] or match[2] or match[3]
    return name, split_fields(name, match[4])


def txt_class_names(path: Path, image_dir: Path) -> tuple[list[str], str]:
    """Names of its classes, as `name_classes`; malformed lines are skipped."""
    lines_of: dict[str, int] = {}
    for line, text in image_lines(path):
        with suppress(InputError):
            for _, name in map(parse_box, split_line(text)[1]):
                lines_of.setdefault(name, line)
    return name_classes(path, lines_of)


def inputs(path: Path, image_dir: Path) -> tuple[Files, Files]:
    """The text file by content, the images by date: their sizes are read from their headers."""
    names = image_names(path, Folder(image_dir, by_end=True))
    return [path], [image_dir / name for name in names]


TXT = Reader(
    "anno_path", find_txt, read_txt, inputs, txt_class_names, "--image_dir", finds_images=True
)
