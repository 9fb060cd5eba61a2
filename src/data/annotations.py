"""Annotations of a split, as flat arrays."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.data.images import read_image, unusable
from src.data.problems import WITHOUT_EVALUATION
from src.data.signs.sign import Sign
from src.runtime.text import count, listed

# how names are held: as on disk, where some are not UTF-8
NAME_CODEC = ("utf-8", "surrogateescape")
# what ignored regions are, as the log writes it: many objects in each, or one that is hard to see
CROWDS, DIFFICULT = "of crowds", "difficult"
# an object as an annotation file has it: box x, y, width, height in pixels
OBJECT = np.dtype(
    [("image_id", "i8"), ("label", "i4"), ("box", "f8", 4), ("area", "f8"), ("crowd", "?")]
)


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
            raise unusable(self.path, other_size(self, (width, height)))
        return image


def other_size(record: Record, size: Sequence[int], *, ask: bool = True) -> str:
    """What is said of an image of another size, width and height, than it is annotated for."""
    width, height = size
    return (
        f"is {width} x {height} pixels, but its annotations are for "
        f"{record.width} x {record.height}" + ("; was it resized or rotated?" if ask else "")
    )


@dataclass(frozen=True)
class Annotations:
    """A split of I images with B boxes in all, in flat arrays that processes share.

    `annotations[i]` is image i's Record, a view of the arrays.
    """

    source: Path  # the annotation file (of VOC: the split's list)
    image_dir: Path  # folder of the images
    file_names: np.ndarray  # (I,) paths relative to it, bytes in NAME_CODEC
    image_ids: np.ndarray  # (I,) int64; COCO's ids, or the image's line in `source`
    sizes: np.ndarray  # (I,2) int32, width and height in pixels
    offsets: np.ndarray  # (I+1,) int64; image i's boxes are offsets[i]:offsets[i+1]
    boxes: np.ndarray  # (B,4) float32, clipped to the image, with an area
    labels: np.ndarray  # (B,) int32, 0..K-1
    crowd: np.ndarray  # (B,) bool: ignored regions, which are neither object nor background
    category_ids: tuple[int, ...]  # K ids of the classes as results name them
    # what ignored regions are, CROWDS or DIFFICULT. Detections on a crowd are ignored by the share
    # of them inside it, those on a difficult object by IoU
    regions: str = CROWDS
    id_kind: str = "line"  # what an image's id numbers: "line" of `source`, or "image"
    # (T,) OBJECT as the file has them, unrepaired and in its order, where the metric compares with
    # these: COCO's format, unless it is read for training. Else None
    truth: np.ndarray | None = None
    repairs: dict[str, int] = field(default_factory=dict)  # what was repaired, with its count
    repair_lines: tuple[str, ...] = ()  # the first of them, one by one
    signs: tuple[Sign, ...] = ()  # what is suspicious about the split
    upright: bool = False  # whether the file's boxes are for pictures as viewers turn them by EXIF
    turned: tuple[int, ...] = ()  # ids of images whose boxes fit if their sides are exchanged

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

    def fingerprint(self) -> str:
        """A short name that changes with the images, their order, boxes and classes."""
        digest = hashlib.sha256()
        own = (self.file_names, self.image_ids, self.offsets, self.boxes, self.labels, self.crowd)
        for array in own:
            digest.update(np.ascontiguousarray(array))
        return f"{len(self)} images, {digest.hexdigest()[:16]}"

    def file_name(self, index: int) -> str:
        """Image `index`'s path relative to `image_dir`."""
        return self.file_names[index].decode(*NAME_CODEC)

    def listed(self, indices: Iterable[int]) -> str:
        """Images as a message names them: "a.jpg, b.jpg, c.jpg and 7 more"."""
        return listed([self.file_name(index) for index in indices])

    def where(self, index: int) -> str:
        """Image `index` as a report names it."""
        return f"{self.id_kind} {self.image_ids[index]}"

    def max_objects(self) -> int:
        """The largest number of boxes, ignored regions included, in one image."""
        return int(np.diff(self.offsets).max(initial=0))

    def owners(self) -> np.ndarray:
        """(B,) int64: the image of each box, as an index."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def object_counts(self) -> np.ndarray:
        """(I,) int64: objects of each image, ignored regions not counted."""
        return np.bincount(self.owners()[~self.crowd], minlength=len(self))

    def class_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Each image with each class that it has an object of: images (M,) and labels (M,)."""
        counted, classes = ~self.crowd, len(self.category_ids)
        pairs = np.unique(self.owners()[counted] * classes + self.labels[counted])
        return np.divmod(pairs, max(classes, 1))

    def objects(self) -> np.ndarray:
        """What the metric compares with, ignored regions included: (T,) OBJECT."""
        if self.truth is not None:
            return self.truth[np.isin(self.truth["image_id"], self.image_ids)]
        found = np.zeros(len(self.boxes), OBJECT)
        found["image_id"] = self.image_ids[self.owners()]
        found["label"], found["crowd"] = self.labels, self.crowd
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        found["box"] = np.hstack([self.boxes[:, :2], sides])
        found["area"] = found["box"][:, 2:].prod(axis=1)
        return found

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
        """For the log: images, boxes, ignored regions, what was repaired, what is suspicious."""
        empty = int((self.object_counts() == 0).sum())
        title = f"{self.source}: {count(len(self), 'image')} ({empty:,} without objects), "
        title += f"{len(self.boxes):,} " + ("box" if len(self.boxes) == 1 else "boxes")
        if self.crowd.any():
            title += f" ({int(self.crowd.sum()):,} {self.regions})"
        lines = [title]
        if self.repairs:
            kinds = ", ".join(f"{number:,} x {what}" for what, number in self.repairs.items())
            lines += [f"repaired: {kinds}", *self.repair_lines]
        return "\n  ".join([*lines, *(f"warning: {sign}" for sign in self.signs)])


def without_empty(annotations: Annotations) -> Annotations:
    """The images that have an object, ignored regions not counted."""
    return annotations.take(np.flatnonzero(annotations.object_counts()))


def what_is_lacking(annotations: Annotations, *, training: bool) -> str:
    """Why a split cannot be used: it has no images, or no objects to train on; else ""."""
    if len(annotations) == 0:
        rest = "nothing to train on" if training else f"name another split, {WITHOUT_EVALUATION}"
        return f"lists no images; {rest}"
    lacks_objects = training and annotations.crowd.all()
    return "no objects in it; nothing to train on" if lacks_objects else ""
