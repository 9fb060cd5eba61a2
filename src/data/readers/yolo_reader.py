"""Reads YOLO's folders: data.yaml, images, and a text file of boxes beside each image.

A line of such a file is `class cx cy w h` in shares of the picture's sides, as viewers show it, or
`class x1 y1 x2 y2 x3 y3 ...`, the outline of an object. Where data.yaml has kpt_shape, key points
follow the box, and are not used.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from src.data.annotations import Annotations
from src.data.files.folder import SUFFIX, Folder
from src.data.files.image_files import SEARCH, Search
from src.data.images import AS_STORED, read_header
from src.data.problems import MalformedRecord, Problems
from src.data.readers.building import Builder
from src.data.readers.reader import Files, Reader
from src.data.readers.text_lines import numbered_lines
from src.data.readers.yolo_yaml import DataSet, find_yolo, load_yaml, split_files
from src.data.signs.given_boxes import CENTRES, Form
from src.data.signs.key_points import fits_as_pose, key_points
from src.data.signs.sign import those_found
from src.runtime.errors import InputError
from src.runtime.text import count

FORM = Form(CENTRES, in_shares=True)
SLACK = 0.01  # that a share may be beyond 0 or 1, by rounding
SHOWN = 60  # letters of a line
LINE = "; expected numbers apart by spaces: class cx cy w h, or class x1 y1 x2 y2 x3 y3 ..."
SHARES = "; expected shares of the image's width and height, 0 to 1, not pixels or percent"
BOX_NUMBERS, LEAST_OUTLINE = 4, 6  # after the class; an outline has three points


def read_yolo(
    path: Path,
    image_dir: Path,
    classes: tuple[str, ...],
    *,
    split: str,
    drop_unlisted: bool = False,
    search: Search = SEARCH,
) -> tuple[Annotations, Problems]:
    """Reads a split of data.yaml, as `Reader.read`.

    An image's id is its number in the order of the names. One without a file of boxes is an image
    without objects.
    """
    problems = Problems(path)
    builder = Builder(problems, classes, drop_unlisted=drop_unlisted, form=FORM)
    data = load_yaml(path)
    finder = search.finder(image_dir, problems)
    finder.source = next(lists(data, split), path)
    unknown, outlines, labelled = defaultdict(list), Counter(), 0
    for number, (where, name) in enumerate(split_files(data, image_dir, split), 1):
        with problems.at(where, number):
            if not (found := finder.find(where, name, number)):
                continue
            size, turn = read_header(image_dir / found)
            builder.add_image(found, number, size)
            labels = label_file(image_dir / found)
            if os.path.isfile(labels):
                labelled += 1
                add_boxes(builder, data, labels, size, turn, unknown, outlines)
    note_unknown(unknown, data, problems)
    finder.report()
    if builder.names and not labelled:
        expected = label_file(image_dir / builder.names[0])
        near = Folder(data.base).nearest(expected.name)  # beside the images, perhaps
        there = (
            f"; there is {data.base / near.name}: move it" if near and near.how != SUFFIX else ""
        )
        raise InputError(
            f"{path}: none of its {len(builder.names):,} images of {split} has a file of boxes; "
            f"expected {expected} and so on{there}"
        )
    signs = those_found(key_points(outlines))
    return builder.build(image_dir, id_kind="image", upright=True, signs=signs), problems


def label_file(image: Path) -> Path:
    """The boxes of an image: in labels/ where it is in images/, else beside it."""
    parts = list(image.parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def add_boxes(
    builder: Builder,
    data: DataSet,
    labels: Path,
    size: tuple[int, int],
    turn: int,
    unknown: defaultdict[int, list[tuple[str, int]]],
    outlines: Counter[tuple[int, bool]],
) -> None:
    """Adds the boxes in a file to the image of (width, height) pixels that was added last.

    `unknown` gets the places of those whose class has no name, with the image's id; `outlines` what
    `key_points` takes.
    """
    for number, text in numbered_lines(labels):
        where = f"{os.path.relpath(labels, data.base)}, line {number}"
        with builder.problems.at(where):
            index, shares = parse_line(text, data.point_numbers)
            if index not in data.names:
                unknown[index].append((where, builder.ids[-1]))
                continue
            if not data.point_numbers and len(values := text.split()[1:]) > BOX_NUMBERS:
                outlines[len(values), fits_as_pose([float(value) for value in values])] += 1
            x1, y1, x2, y2 = as_stored(shares, turn)
            width, height = size
            box = (x1 * width, y1 * height, x2 * width, y2 * height)
            builder.add_named(where, box, data.names[index])


def note_unknown(
    unknown: dict[int, list[tuple[str, int]]], data: DataSet, problems: Problems
) -> None:
    """One error for each class that has no name."""
    have = f"names of {data.path.name} has {', '.join(map(str, data.names))}"
    for index, places in sorted(unknown.items()):
        first, image_id = places[0]
        where = f"class {index} ({count(len(places), 'object')}, first: {first})"
        problems.error(where, have, image_id=image_id)


def parse_line(text: str, point_numbers: int = 0) -> tuple[int, tuple[float, ...]]:
    """Class and corners x1, y1, x2, y2 in shares; InputError where the line is malformed.

    Args:
        point_numbers: of the key points after a box, which are left out; no line is an outline.
    """
    if point_numbers:
        text = without_points(text, point_numbers)
    try:
        label, *values = (float(word) for word in text.replace("_", "?").split())
        is_box, is_outline = len(values) == BOX_NUMBERS, len(values) >= LEAST_OUTLINE
        if not label.is_integer() or not (is_box or (is_outline and len(values) % 2 == 0)):
            raise ValueError
    except ValueError:
        raise MalformedRecord(repr(text[:SHOWN]), LINE) from None
    if not all(-SLACK <= value <= 1 + SLACK for value in values):
        value = next(value for value in values if not 0 <= value <= 1)
        raise MalformedRecord(f"{text[:SHOWN]!r}: {value:g}", SHARES)
    if is_box:
        cx, cy, w, h = values
        return int(label), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    xs, ys = values[0::2], values[1::2]
    return int(label), (min(xs), min(ys), max(xs), max(ys))


def without_points(text: str, point_numbers: int) -> str:
    """A line without its key points; InputError where it has another number of them."""
    words = text.split()
    if len(words) not in (1 + BOX_NUMBERS, 1 + BOX_NUMBERS + point_numbers):
        raise InputError(
            f"{text[:SHOWN]!r}: {len(words)} numbers; expected class cx cy w h and {point_numbers} "
            "of key points, by kpt_shape of data.yaml"
        )
    return " ".join(words[: 1 + BOX_NUMBERS])


def as_stored(box: tuple[float, ...], turn: int) -> tuple[float, ...]:
    """A box in shares of the upright picture, in shares of the pixels as they are stored.

    `turn` is EXIF's orientation: labelling tools show the picture upright.
    """
    x1, y1, x2, y2 = box
    exchange, rows, columns = AS_STORED.get(turn, (False, False, False))
    if exchange:
        x1, y1, x2, y2 = y1, x1, y2, x2
    if rows:
        y1, y2 = 1 - y2, 1 - y1
    if columns:
        x1, x2 = 1 - x2, 1 - x1
    return x1, y1, x2, y2


def class_names(path: Path, image_dir: Path, *, split: str) -> tuple[list[str], str]:
    """The names of data.yaml in their order."""
    names = load_yaml(path).names
    return list(dict.fromkeys(names[index] for index in sorted(names))), "its names"


def inputs(path: Path, image_dir: Path, *, split: str) -> tuple[Files, Files]:
    """data.yaml, lists and boxes by content, images by date."""
    data = load_yaml(path)
    images = [image_dir / name for _, name in split_files(data, image_dir, split)]
    return [path, *lists(data, split), *map(label_file, images)], images


def lists(data: DataSet, split: str) -> Iterator[Path]:
    """The text files that list the images of a split."""
    return (entry for entry in data.entries(split) if os.path.isfile(entry))


YOLO = Reader("yolo_root", find_yolo, read_yolo, inputs, class_names, finds_images=True)
