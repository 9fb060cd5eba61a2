"""Annotations of a split as flat arrays, and the repairs that every format gets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.data.images import Folder, read_image
from src.data.problems import Problems, count, first_lines
from src.errors import InputError, suggestion

MIN_SIDE = 0.01  # pixels; a thinner box has no size left in float32
DROPPED = "box without area inside the image dropped"
CLIPPED = "box clipped to the image"
DUPLICATE = "box that repeats another dropped"


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

    def read(self) -> np.ndarray:
        """The pixels (H,W,3) uint8 RGB; InputError where they do not fit the annotations."""
        image = read_image(self.path)
        height, width = image.shape[:2]
        if (width, height) != (self.width, self.height):
            raise InputError(
                f"{self.path}: is {width} x {height} pixels, but its annotations are for "
                f"{self.width} x {self.height}; was it resized or rotated?"
            )
        return image


@dataclass(frozen=True)
class Annotations:
    """A split of I images with B boxes in all, in flat arrays that processes can share.

    `annotations[i]` is image i's Record, a view of the arrays.

    Attributes:
        format: "coco", "other" or "voc".
        source: the annotation file (of VOC: the split's list).
        image_dir: folder of the images.
        file_names: (I,) paths relative to it, UTF-8 bytes.
        image_ids: (I,) int64; COCO's ids, or the image's line in `source`.
        sizes: (I,2) int32, width and height in pixels.
        offsets: (I+1,) int64; image i's boxes are offsets[i]:offsets[i+1].
        boxes: (B,4) float32, clipped to the image, sides of MIN_SIDE or more.
        labels: (B,) int32, 0..K-1.
        crowd: (B,) bool: regions that are neither object nor background, that is COCO's crowds and
            VOC's difficult objects.
        category_ids: K ids of the classes as results name them.
        repairs: what was mended, with its count.
        repair_lines: the first of them, one by one.
    """

    format: str
    source: Path
    image_dir: Path
    file_names: np.ndarray
    image_ids: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    category_ids: tuple[int, ...]
    repairs: dict[str, int] = field(default_factory=dict)
    repair_lines: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        own = slice(self.offsets[index], self.offsets[index + 1])
        width, height = self.sizes[index]
        return Record(
            image_id=int(self.image_ids[index]),
            path=self.image_dir / self.file_name(index),
            width=int(width),
            height=int(height),
            boxes=self.boxes[own],
            labels=self.labels[own],
            crowd=self.crowd[own],
        )

    def file_name(self, index: int) -> str:
        """Image `index`'s path relative to `image_dir`."""
        return self.file_names[index].decode()

    def where(self, index: int) -> str:
        """Image `index` as a report names it."""
        kind = "image" if self.format == "coco" else "line"
        return f"{kind} {self.image_ids[index]}"

    def max_objects(self) -> int:
        """The largest number of boxes, crowd regions included, in one image."""
        return int(np.diff(self.offsets).max(initial=0))

    def owners(self) -> np.ndarray:
        """(B,) int64: the image of each box, as an index."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def object_counts(self) -> np.ndarray:
        """(I,) int64: objects of each image, crowd regions not counted."""
        return np.bincount(self.owners()[~self.crowd], minlength=len(self))

    def take(self, indices: np.ndarray) -> "Annotations":
        """The images `indices` (J,) alone, in that order."""
        counts = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        # box j of the result is the (j - offsets)-th of its image
        rows = np.repeat(self.offsets[indices] - offsets[:-1], counts) + np.arange(offsets[-1])
        return replace(
            self,
            file_names=self.file_names[indices],
            image_ids=self.image_ids[indices],
            sizes=self.sizes[indices],
            offsets=offsets,
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            crowd=self.crowd[rows],
        )

    def summary(self) -> str:
        """For the log: images, boxes, ignored regions, and what was repaired."""
        empty = int((np.diff(self.offsets) == 0).sum())
        regions = "difficult" if self.format == "voc" else "of crowds"
        title = (
            f"{self.source}: {count(len(self), 'image')} ({empty:,} without objects), "
            f"{len(self.boxes):,} boxes ({int(self.crowd.sum()):,} {regions})"
        )
        if not self.repairs:
            return title
        kinds = ", ".join(f"{number:,} x {what}" for what, number in self.repairs.items())
        return "\n  ".join([title, f"repaired: {kinds}", *self.repair_lines])


@dataclass(frozen=True)
class RawBoxes:
    """Boxes of a split as a reader found them, not yet clipped or sorted.

    owners (B,) indices of their images, boxes (B,4) float64 x1, y1, x2, y2, labels (B,), crowd
    (B,) bool; `where(i)` names box i in a report.
    """

    owners: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    where: Callable[[int], str]


def make_annotations(
    raw: RawBoxes,
    problems: Problems,
    *,
    file_names: Sequence[str],
    image_ids: Sequence[int],
    sizes: np.ndarray,
    **attributes,
) -> Annotations:
    """Clips boxes to their images, drops what is left without area or comes twice, sorts by image.

    Args:
        raw: the boxes.
        problems: repairs are added to it; boxes that are not finite are its errors.
        file_names, image_ids, sizes: of the I images.
        attributes: the others of Annotations.
    """
    sizes = np.asarray(sizes, np.int32).reshape(-1, 2)
    boxes, keep = repair_boxes(raw, sizes, problems)
    order = np.flatnonzero(keep)
    order = order[np.argsort(raw.owners[order], kind="stable")]
    counts = np.bincount(raw.owners[order], minlength=len(sizes))
    return Annotations(
        file_names=np.array([name.encode() for name in file_names], np.bytes_),
        image_ids=np.array(image_ids, np.int64),
        sizes=sizes,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes=boxes[order].astype(np.float32),
        labels=raw.labels[order].astype(np.int32),
        crowd=raw.crowd[order].astype(bool),
        repairs=problems.repairs_by_kind(),
        repair_lines=tuple(first_lines(problems.repairs)),
        **attributes,
    )


def repair_boxes(
    raw: RawBoxes, sizes: np.ndarray, problems: Problems
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (B,4) clipped to their images of sizes (I,2), and which (B,) of them to keep."""
    finite = np.isfinite(raw.boxes).all(axis=1)
    for index in np.flatnonzero(~finite):
        problems.error(raw.where(index), f"box {raw.boxes[index].tolist()} is not finite")
    limits = np.tile(sizes[raw.owners], 2).astype(np.float64)
    clipped = np.clip(np.nan_to_num(raw.boxes), 0, limits)
    visible = ((clipped[:, 2:] - clipped[:, :2]) >= MIN_SIDE).all(axis=1)
    keep = finite & visible
    repeated = keep & repeats(np.column_stack([raw.owners, raw.labels, raw.crowd, clipped]), keep)
    changed = keep & ~repeated & (clipped != raw.boxes).any(axis=1)
    kinds = ((DROPPED, finite & ~visible), (DUPLICATE, repeated), (CLIPPED, changed))
    for what, found in kinds:
        for index in np.flatnonzero(found):
            problems.repair(raw.where(index), what)
    return clipped, keep & ~repeated


def repeats(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which rows (B,F) equal an earlier one; only the rows `among` (B,) are looked at."""
    indices = np.flatnonzero(among)
    indices = indices[np.lexsort(rows[indices].T)]  # stable: equal rows stay in their order
    same = (rows[indices[1:]] == rows[indices[:-1]]).all(axis=1)
    found = np.zeros(len(rows), bool)
    found[indices[1:][same]] = True
    return found


class Builder:
    """Collects a split image by image, for formats that are read line by line."""

    def __init__(self):
        self.names: list[str] = []
        self.ids: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.rows: list[tuple] = []  # image, x1, y1, x2, y2, label, crowd
        self.places: list[str] = []

    def add_image(self, name: str, image_id: int, size: tuple[int, int]) -> None:
        self.names.append(name)
        self.ids.append(image_id)
        self.sizes.append(size)

    def add_box(self, where: str, box: Sequence[float], label: int, crowd: bool = False) -> None:
        """Adds a box (x1, y1, x2, y2) to the image that was added last."""
        self.rows.append((len(self.names) - 1, *box, label, crowd))
        self.places.append(where)

    def build(self, problems: Problems, **attributes) -> Annotations:
        """The split, as `make_annotations` makes it."""
        table = np.array(self.rows, np.float64).reshape(-1, 7)
        raw = RawBoxes(
            owners=table[:, 0].astype(np.int64),
            boxes=table[:, 1:5],
            labels=table[:, 5],
            crowd=table[:, 6],
            where=self.places.__getitem__,
        )
        return make_annotations(
            raw,
            problems,
            file_names=self.names,
            image_ids=self.ids,
            sizes=self.sizes,
            **attributes,
        )


def note_unlisted(
    name: str, where: str, classes: tuple[str, ...], problems: Problems, *, drop: bool
) -> None:
    """Notes that boxes of class `name`, `where` many, are in the files but not in `classes`."""
    if drop:
        problems.repair(where, "class that is not in classes dropped")
    else:
        hint = suggestion(name, classes[1:])
        problems.error(where, f"not in classes; add it, or --unlisted_classes=drop{hint}")


def check_files(annotations: Annotations, problems: Problems) -> None:
    """An error for every image whose file is not there."""
    folder = Folder(annotations.image_dir)
    for index in range(len(annotations)):
        name = annotations.file_name(index)
        if not folder.holds(name):
            problems.error(annotations.where(index), f"no such file {folder.path / name}")


def without_empty(annotations: Annotations) -> Annotations:
    """The images that have an object, crowd regions aside."""
    return annotations.take(np.flatnonzero(annotations.object_counts()))


def check_has_objects(annotations: Annotations) -> None:
    """InputError where there is nothing to train on."""
    if annotations.crowd.all():
        raise InputError(f"{annotations.source}: not one object in it; nothing to train on")
