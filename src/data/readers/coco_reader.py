"""Reads COCO's instance annotations."""

from pathlib import Path

import numpy as np

from src.data.annotations import OBJECT, Annotations
from src.data.files.image_files import SEARCH, ImageFinder, Search
from src.data.images import read_size
from src.data.problems import Problems
from src.data.readers.building import RawBoxes, make_annotations
from src.data.readers.coco_classes import (
    coco_class_names,
    match_categories,
    note,
    of_classes,
    usable_categories,
)
from src.data.readers.coco_entries import BoxEntry, ImageEntry, is_id
from src.data.readers.coco_file import Content, Outlines, load_content
from src.data.readers.coco_layout import find_coco
from src.data.readers.reader import Reader
from src.data.signs.given_boxes import SIDES, Form


def read_coco(
    path: Path,
    image_dir: Path,
    classes: tuple[str, ...],
    *,
    drop_unlisted: bool = False,
    search: Search = SEARCH,
) -> tuple[Annotations, Problems]:
    """Reads instance annotations (json), as `Reader.read`; categories match classes by name."""
    content = load_content(path)
    problems = Problems(path)
    images = usable_images(content.images, problems, search.finder(image_dir, problems))
    entries = usable_boxes(path, content, problems)
    categories = usable_categories(path, content.categories, entries, problems)
    category_ids = match_categories(categories, classes)
    entries = of_classes(entries, categories, classes, problems, drop_unlisted)
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
    """The entries as (B,) OBJECT."""
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
        form=Form(SIDES),
    )


def usable_images(
    entries: list[ImageEntry], problems: Problems, finder: ImageFinder
) -> list[ImageEntry]:
    """The well-formed image entries in the order of their ids; sizes they lack are read."""
    usable: dict[int, ImageEntry] = {}
    for position, entry in enumerate(entries):
        if not entry.is_usable():
            with problems.at(f"image entry {position}", as_id(entry.id)):
                note(problems, f"image entry {position}", entry.mend())
                if entry.lacks_size():
                    read_missing_size(entry, finder)
            if not entry.is_usable():
                continue
        if entry.id in usable:
            twice = f"{usable[entry.id].file_name!r} and {entry.file_name!r}"
            text = f"the id is used twice ({twice})"
            problems.error(f"image {entry.id}", text, image_id=entry.id)
        else:
            usable[entry.id] = entry
    finder.report()
    return [usable[image_id] for image_id in sorted(usable)]


def read_missing_size(entry: ImageEntry, finder: ImageFinder) -> None:
    """Sets width and height from the image, if it is there; InputError if it cannot be read."""
    where = f"image {entry.id}, which has no width and height"
    file = finder.find(where, entry.file_name, entry.id)
    if file is not None:
        entry.width, entry.height = read_size(finder.folder.path / file)
        entry.file_name = file
        finder.problems.from_images = True
        finder.problems.repair(f"image {entry.id}", "width and height read from the image")


def usable_boxes(path: Path, content: Content, problems: Problems) -> list[BoxEntry]:
    """The well-formed annotation entries of images that the file has."""
    known = {image.id for image in content.images if is_id(image.id)}
    outlines = None
    usable = []
    for position, entry in enumerate(content.annotations):
        if not entry.is_usable():
            where = f"annotation entry {position} (id {entry.id})"
            if not entry.bbox and outlines is None:
                outlines = load_content(path, Outlines).annotations
            outline = None if entry.bbox else outlines[position].segmentation
            with problems.at(where, as_id(entry.image_id)):
                note(problems, where, entry.mend(outline))
            if not entry.is_usable():
                continue
        if entry.image_id in known:
            usable.append(entry)
        else:
            text = f"the file has no image {entry.image_id}"
            problems.error(f"annotation {entry.id}", text, cause="no such image")
    return usable


def as_id(value: object) -> int | None:
    """An image's id as a file has it; None where it cannot be one."""
    return value if is_id(value) else None


COCO = Reader(
    "coco_root",
    find_coco,
    read_coco,
    class_names=coco_class_names,
    image_flag="--{role}_json={path} --{role}_images",
    finds_images=True,
)
