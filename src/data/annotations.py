"""Annotations of a split as flat arrays, read from COCO's json."""

import json
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import numpy as np

from src.errors import InputError, suggestion

MIN_SIDE = 0.01  # pixels; a thinner box has no size left in float32
SHOWN_PROBLEMS = 20  # so many are named one by one, the rest are counted


@dataclass(frozen=True)
class Record:
    """One image: boxes (G,4) float32 in its pixels, labels (G,) int 0..K-1, crowd (G,) bool."""

    image_id: int
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class Annotations:
    """A split of I images with B boxes in all, in flat arrays that processes can share.

    `annotations[i]` is image i's Record, a view of the arrays.

    Attributes:
        source: the annotation file.
        image_dir: folder of the images.
        file_names: I paths relative to it.
        image_ids: (I,) int64.
        sizes: (I,2) int32, width and height in pixels.
        offsets: (I+1,) int64; image i's boxes are offsets[i]:offsets[i+1].
        boxes: (B,4) float32, clipped to the image, sides of MIN_SIDE or more.
        labels: (B,) int32, 0..K-1.
        crowd: (B,) bool.
        category_ids: K ids of the classes as the file has them.
        repairs: what was mended, with its count.
    """

    source: Path
    image_dir: Path
    file_names: list[str]
    image_ids: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    category_ids: tuple[int, ...]
    repairs: Counter = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        own = slice(self.offsets[index], self.offsets[index + 1])
        width, height = self.sizes[index]
        return Record(
            image_id=int(self.image_ids[index]),
            path=self.image_dir / self.file_names[index],
            width=int(width),
            height=int(height),
            boxes=self.boxes[own],
            labels=self.labels[own],
            crowd=self.crowd[own],
        )

    def max_objects(self) -> int:
        """The largest number of boxes, crowd regions included, in one image."""
        return int(np.diff(self.offsets).max(initial=0))

    def summary(self) -> str:
        """One line for the log: images, boxes, crowd regions and what was repaired."""
        empty = int((np.diff(self.offsets) == 0).sum())
        text = (
            f"{self.source}: {len(self)} images ({empty} without objects), "
            f"{len(self.boxes)} boxes ({int(self.crowd.sum())} of crowds)"
        )
        if self.repairs:
            text += "; repaired: " + ", ".join(f"{n} x {what}" for what, n in self.repairs.items())
        return text


def coco_paths(root: str, split: str) -> tuple[Path, Path]:
    """Annotation file and image folder of a split in COCO's layout; InputError if one is missing.

    `instance_<split>.json`, a spelling in circulation, is found too.
    """
    folder = Path(root)
    if not os.path.isdir(folder):  # unlike Path.is_dir, never raises
        raise InputError(f"{root}: no such folder; set coco_root to COCO's folder")
    names = [f"instances_{split}.json", f"instance_{split}.json"]
    for name in names:
        if os.path.isfile(folder / "annotations" / name):
            break
    else:
        raise InputError(
            f"{folder / 'annotations' / names[0]}: no such file; "
            f"check coco_root ({root}) and the split's name ({split})"
        )
    if not os.path.isdir(folder / split):
        raise InputError(f"{folder / split}: no such folder; expected the images of {split} there")
    return folder / "annotations" / name, folder / split


def read_coco(path: Path, image_dir: Path, classes: tuple[str, ...]) -> Annotations:
    """Reads COCO's instance annotations.

    Args:
        path: the json file.
        image_dir: folder its file names are relative to.
        classes: names, 'background' first; categories are matched to them by name.

    Raises:
        InputError: unreadable json, unknown classes, malformed entries, missing images; the first
            SHOWN_PROBLEMS are named.
    """
    content = load_json(path)
    category_ids = match_categories(path, content["categories"], classes)
    label_of = {category: label for label, category in enumerate(category_ids)}
    problems: list[str] = []
    repairs: Counter = Counter()
    images = check_images(content["images"], image_dir, problems)
    rows = check_annotations(content["annotations"], images, label_of, problems, repairs)
    raise_problems(path, problems)
    if not images:
        raise InputError(f"{path}: no images in it; nothing to work on")
    ids = sorted(images)
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    order = np.array([row_of[row[0]] for row in rows], np.int64)
    sort = np.argsort(order, kind="stable")
    table = np.array([row[1:] for row in rows], np.float64).reshape(-1, 6)[sort]
    counts = np.bincount(order, minlength=len(ids))
    return Annotations(
        source=path,
        image_dir=image_dir,
        file_names=[images[i]["file_name"] for i in ids],
        image_ids=np.array(ids, np.int64),
        sizes=np.array([(images[i]["width"], images[i]["height"]) for i in ids], np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=table[:, :4].astype(np.float32),
        labels=table[:, 4].astype(np.int32),
        crowd=table[:, 5] > 0,
        category_ids=category_ids,
        repairs=repairs,
    )


def load_json(path: Path) -> dict:
    """The file's content, with COCO's three lists in it; InputError otherwise."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a json file: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(f"{path}: no list {key!r} in it; expected COCO's instance annotations")
    return content


def match_categories(path: Path, categories: list, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The file's category id of every class but the background, by name."""
    try:
        ids = {str(category["name"]): int(category["id"]) for category in categories}
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: a category without 'name' or a whole 'id'") from error
    wanted = classes[1:]
    for name in wanted:
        if name not in ids:
            raise InputError(
                f"{path}: class {name!r} of the config is none of its categories"
                + (suggestion(name, ids) or f"; it has: {', '.join(map(str, ids))}")
            )
    return tuple(ids[name] for name in wanted)


def check_images(images: list, image_dir: Path, problems: list[str]) -> dict[int, dict]:
    """Usable image entries by id; what is wrong with the others goes to `problems`."""
    listings: dict[str, set[str]] = {}
    usable = {}
    for position, image in enumerate(images):
        try:
            image_id, name = image["id"], image["file_name"]
            width, height = int(image["width"]), int(image["height"])
        except (TypeError, KeyError, ValueError, OverflowError):
            image_id = name = None
        if not isinstance(image_id, int) or not isinstance(name, str):
            problems.append(
                f"image entry {position}: needs a whole id, file_name, width and height"
            )
        elif width <= 0 or height <= 0:
            problems.append(f"image {image_id} ({name}): width and height must be positive")
        elif image_id in usable:
            problems.append(f"image {image_id} ({name}): the id comes twice")
        elif not file_exists(image_dir, name, listings):
            problems.append(f"image {image_id}: no such file {image_dir / name}")
        else:
            usable[image_id] = image
    return usable


def file_exists(folder: Path, name: str, listings: dict[str, set[str]]) -> bool:
    """Whether folder/name exists, listing each folder once: 118,000 look-ups cost seconds."""
    parent, base = os.path.split(os.path.join(folder, name))
    if parent not in listings:
        try:
            listings[parent] = set(os.listdir(parent))
        except OSError:
            listings[parent] = set()
    return base in listings[parent]


def check_annotations(
    annotations: list, images: dict, label_of: dict, problems: list[str], repairs: Counter
) -> list[tuple]:
    """Rows (image_id, x1, y1, x2, y2, label, crowd) of the usable annotations."""
    rows = []
    for position, annotation in enumerate(annotations):
        try:
            own_id = annotation.get("id", position)
            image_id, category_id = annotation["image_id"], annotation["category_id"]
            image, label = images.get(image_id), label_of.get(category_id)
            x, y, w, h = (float(v) for v in annotation["bbox"])
            crowd = int(annotation.get("iscrowd", 0))
        except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
            problems.append(
                f"annotation entry {position}: needs image_id, category_id and a bbox of 4 "
                "numbers; iscrowd, if given, is 0 or 1"
            )
            continue
        if label is None:
            problems.append(
                f"annotation {own_id}: category_id {category_id} is no category of the file that "
                "the config's classes name"
            )
        elif image is None:
            problems.append(f"annotation {own_id}: image {image_id} is not among the usable images")
        elif not math.isfinite(x + y + w + h):
            problems.append(f"annotation {own_id} (image {image_id}): bbox is not finite")
        else:
            box = clip_box((x, y, x + w, y + h), image, repairs)
            if box is not None:
                rows.append((image_id, *box, label, crowd))
    return rows


def clip_box(box: tuple, image: dict, repairs: Counter) -> Optional[tuple]:
    """The part of the box inside the image, or None where nothing is left of it."""
    x1, y1, x2, y2 = box
    width, height = image["width"], image["height"]
    clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if clipped[2] - clipped[0] < MIN_SIDE or clipped[3] - clipped[1] < MIN_SIDE:
        repairs["box without area inside the image dropped"] += 1
        return None
    if clipped != box:
        repairs["box clipped to the image"] += 1
    return clipped


def check_has_objects(annotations: Annotations) -> None:
    """InputError where there is nothing to train on."""
    if annotations.crowd.all():
        raise InputError(f"{annotations.source}: not one object in it; nothing to train on")


def raise_problems(path: Path, problems: list[str]) -> None:
    """InputError with the first SHOWN_PROBLEMS problems and the count of the rest, if any."""
    if not problems:
        return
    lines = [f"{path}: {len(problems)} problem(s)"] + problems[:SHOWN_PROBLEMS]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"and {len(problems) - SHOWN_PROBLEMS} more")
    raise InputError("\n  ".join(lines))


def build_annotations(cfg, split: str) -> Annotations:
    """The annotations of a split of the configured data set."""
    path, image_dir = coco_paths(cfg.coco_root, split)
    return read_coco(path, image_dir, cfg.classes)
