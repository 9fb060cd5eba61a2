"""Reads COCO's instance annotations."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from src.config.configuration import Config
from src.data.annotations import OBJECT, Annotations
from src.data.building import MAX_SIDE, RawBoxes, make_annotations, note_unlisted
from src.data.problems import Problems
from src.data.reader import Reader
from src.runtime.errors import InputError
from src.runtime.text import count, suggestion

MAX_ID = 2**63  # ids are held in 64 bits


class ImageEntry(msgspec.Struct, gc=False):
    """An entry of "images". Fields that are not named here are skipped by the parser."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None

    def is_usable(self) -> bool:
        return (
            is_id(self.id)
            and type(self.file_name) is str
            and self.file_name != ""
            and is_side(self.width)
            and is_side(self.height)
        )


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

    def object_area(self) -> float:
        """The file's area in square pixels, of outlines mostly; else that of the box."""
        if type(self.area) is float or is_id(self.area):
            return self.area
        return self.bbox[2] * self.bbox[3]


class Category(msgspec.Struct):
    """An entry of "categories"."""

    id: int
    name: str


class Content(msgspec.Struct):
    """The three lists of the file that are read."""

    images: list[ImageEntry]
    annotations: list[BoxEntry]
    categories: list[Category]


def is_id(value: Any) -> bool:
    """Whether it is a whole number of 64 bits; True and False are not."""
    return type(value) is int and -MAX_ID <= value < MAX_ID


def is_side(value: Any) -> bool:
    """Whether it is a number of at least one pixel."""
    return type(value) in (int, float) and 1 <= value < MAX_SIDE


def find_coco(cfg: Config, *, training: bool) -> tuple[Path, Path]:
    """`coco_paths` of the configured split."""
    return coco_paths(cfg.coco_root, cfg.train_split if training else cfg.val_split)


def coco_paths(root: str, split: str) -> tuple[Path, Path]:
    """Annotation file and image folder of a split in COCO's layout; InputError if one is missing.

    `instance_<split>.json`, which some copies of the data have, is found too.
    """
    image_dir = Path(root) / split
    if not os.path.isdir(root):  # unlike Path.is_dir, never raises
        raise InputError(f"{root}: no such folder; set coco_root to COCO's folder")
    names = (f"instances_{split}.json", f"instance_{split}.json")
    paths = [Path(root) / "annotations" / name for name in names]
    found = next(filter(os.path.isfile, paths), None)
    if found is None:
        hint = f"check coco_root ({root}) and the split's name ({split})"
        raise InputError(f"{paths[0]}: no such file; {hint}")
    if not os.path.isdir(image_dir):
        raise InputError(f"{image_dir}: no such folder; expected the images of {split} there")
    return found, image_dir


def read_coco(
    path: Path, image_dir: Path, classes: tuple[str, ...], *, drop_unlisted: bool = False
) -> tuple[Annotations, Problems]:
    """Reads instance annotations (json), as `Reader.read`.

    Categories are matched to the classes by name; InputError where a class is none of them.
    """
    content = load_content(path)
    problems = Problems(path)
    category_ids = match_categories(path, content.categories, classes)
    images = usable_images(content.images, problems)
    entries = usable_boxes(content.annotations, content.images, problems)
    entries = of_classes(entries, content.categories, classes, problems, drop_unlisted)
    row_of = {image.id: row for row, image in enumerate(images)}
    entries = [entry for entry in entries if entry.image_id in row_of]  # of usable images
    truth = as_objects(entries, category_ids)
    annotations = make_annotations(
        as_raw_boxes(truth, entries, row_of),
        problems,
        source=path,
        image_dir=image_dir,
        file_names=[image.file_name for image in images],
        image_ids=[image.id for image in images],
        sizes=[(int(image.width), int(image.height)) for image in images],
        category_ids=category_ids,
        id_kind="image",
        truth=truth,
    )
    return annotations, problems


def as_objects(entries: list[BoxEntry], category_ids: tuple[int, ...]) -> np.ndarray:
    """The entries as (B,) OBJECT; an area that is missing or no number is that of the box."""
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    objects = np.zeros(len(entries), OBJECT)
    objects["image_id"] = [entry.image_id for entry in entries]
    objects["label"] = [label_of[entry.category_id] for entry in entries]
    objects["box"] = np.array([entry.bbox for entry in entries], np.float64).reshape(-1, 4)
    objects["area"] = [entry.object_area() for entry in entries]
    objects["crowd"] = [entry.iscrowd == 1 for entry in entries]
    return objects


def as_raw_boxes(objects: np.ndarray, entries: list[BoxEntry], row_of: dict[int, int]) -> RawBoxes:
    """The objects (B,) OBJECT of the entries by corners; `row_of` is the image of each id."""
    boxes = objects["box"].copy()
    boxes[:, 2:] += boxes[:, :2]  # (B,4) x1, y1, x2, y2
    return RawBoxes(
        owners=np.array([row_of[entry.image_id] for entry in entries], np.int64),
        boxes=boxes,
        labels=objects["label"],
        crowd=objects["crowd"],
        where=lambda i: f"annotation {entries[i].id} (image {entries[i].image_id})",
    )


def load_content(path: Path) -> Content:
    """The file's three lists; InputError where it is not json or lacks one."""
    try:
        data = Path(path).read_bytes()
        try:
            return msgspec.json.decode(data, type=Content)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # the standard library accepts NaN and a byte order mark, and names the wrong line
            return msgspec.convert(json.loads(data), Content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: not COCO's instance annotations: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a json file: {error}") from error


def match_categories(
    path: Path, categories: list[Category], classes: tuple[str, ...]
) -> tuple[int, ...]:
    """The file's category id of every class but the background, by name."""
    for key in ("id", "name"):
        values = Counter(getattr(category, key) for category in categories)
        for value, number in values.items():
            if number > 1:
                raise InputError(f"{path}: two categories have the {key} {value!r}")
    ids = {category.name: category.id for category in categories}
    for name in classes[1:]:
        if name not in ids:
            raise InputError(
                f"{path}: class {name!r} of the config is not among its categories"
                + (suggestion(name, ids) or f"; it has: {', '.join(ids)}")
                + "; set --classes, or give the run's config.yaml as --config_path"
            )
    return tuple(ids[name] for name in classes[1:])


def usable_images(entries: list[ImageEntry], problems: Problems) -> list[ImageEntry]:
    """The well-formed image entries in the order of their ids."""
    usable: dict[int, ImageEntry] = {}
    for position, entry in enumerate(entries):
        if not entry.is_usable():
            problems.error(
                f"image entry {position}",
                "needs a whole id, file_name, and width and height of at least 1",
            )
        elif entry.id in usable:
            problems.error(f"image {entry.id}", f"the id is used twice ({entry.file_name})")
        else:
            usable[entry.id] = entry
    return [usable[image_id] for image_id in sorted(usable)]


def usable_boxes(
    entries: list[BoxEntry], images: list[ImageEntry], problems: Problems
) -> list[BoxEntry]:
    """The well-formed annotation entries of images that the file has."""
    known = {image.id for image in images if is_id(image.id)}
    usable = []
    for position, entry in enumerate(entries):
        if not entry.is_usable():
            problems.error(
                f"annotation entry {position} (id {entry.id})",
                "needs a whole image_id and category_id and a bbox of 4 numbers; iscrowd, if "
                "given, is 0 or 1",
            )
        elif entry.image_id not in known:
            problems.error(f"annotation {entry.id}", f"the file has no image {entry.image_id}")
        else:
            usable.append(entry)
    return usable


def of_classes(
    entries: list[BoxEntry],
    categories: list[Category],
    classes: tuple[str, ...],
    problems: Problems,
    drop_unlisted: bool,
) -> list[BoxEntry]:
    """The entries of the configured classes; others are one error, or repair, per category."""
    names = {category.id: category.name for category in categories}
    listed = {category_id for category_id, name in names.items() if name in classes[1:]}
    others = Counter(entry.category_id for entry in entries if entry.category_id not in listed)
    for category_id, number in sorted(others.items()):
        name, found = names.get(category_id), count(number, "annotation")
        if name is None:
            problems.error(f"category {category_id}", f"{found}, but the file does not define it")
        else:
            where = f"category {category_id} ({name!r}, {found})"
            note_unlisted(name, where, classes, problems, drop=drop_unlisted)
    return [entry for entry in entries if entry.category_id in listed]


COCO = Reader("coco_root", find_coco, read_coco)
