"""Draws ground truth and detections side by side, and chooses the images to draw."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from src.data.annotations import Annotations, Record
from src.data.drawing import FOUND, IGNORED, MISSED, Mark, draw_marks, fit_height
from src.detection.boxes import iou
from src.evaluation.matching import NOTHING, Matches
from src.runtime.errors import InputError

PICTURE_HEIGHT = 320  # of each drawn image, in pixels
QUALITY = 85  # of JPEGs
GAP = 4  # pixels between the two halves
ORDINARY = 4  # images shown beside the worst
SAME_OBJECT_IOU = 0.7  # from this on two boxes are drawn as one object; above usual neighbours'


@dataclass(frozen=True)
class ImageErrors:
    """The index of an image, and its counts of false detections and missed objects."""

    image: int
    false: int
    missed: int

    @property
    def total(self) -> int:
        """All errors."""
        return self.false + self.missed


@dataclass(frozen=True)
class Panels:
    """Pictures (PICTURE_HEIGHT,W,3) uint8 RGB of an image: its objects, then detections.

    Attributes:
        left_out: of each picture of detections, boxes that are not drawn since a better one of
            another class is in the same place.
    """

    image: int
    record: Record
    pictures: list[np.ndarray]
    left_out: list[int]

    def joined(self) -> np.ndarray:
        """All side by side."""
        gap = np.full((PICTURE_HEIGHT, GAP, 3), 255, np.uint8)
        parts = [part for picture in self.pictures for part in (gap, picture)]
        return np.hstack(parts[1:])


def errors_by_image(annotations: Annotations, matches: Matches) -> list[ImageErrors]:
    """The errors of each image."""
    images = len(annotations)
    false = np.bincount(matches.image[matches.is_wrong], minlength=images)
    unfound = ~matches.object_found & ~annotations.crowd
    missed = np.bincount(annotations.owners()[unfound], minlength=images)
    return [ImageErrors(*each) for each in zip(range(images), false.tolist(), missed.tolist())]


def worst_first(errors: Sequence[ImageErrors]) -> list[ImageErrors]:
    """The images with errors, most errors first."""
    return sorted((one for one in errors if one.total), key=lambda one: -one.total)


def ordinary(errors: Sequence[ImageErrors], besides: Iterable[int]) -> list[ImageErrors]:
    """Up to ORDINARY images whose number of errors is nearest to the median of all.

    Args:
        besides: images that are shown already.
    """
    if not errors:
        return []
    median = np.median([one.total for one in errors])
    shown = set(besides)
    # a fixed random order among equals, since neighbours of a split are often alike
    order = np.random.default_rng(0).permutation(len(errors)).tolist()
    mixed = [errors[index] for index in order if errors[index].image not in shown]
    return sorted(mixed, key=lambda one: abs(one.total - median))[:ORDINARY]


def draw_images(
    annotations: Annotations,
    names: tuple[str, ...],
    matches: Sequence[Matches],
    images: Iterable[int],
) -> Iterator[Panels]:
    """Draws readable images: ground truth, and the detections of each detector.

    Colours: FOUND for objects that the last detector found and right detections, MISSED for missed
    and false ones, IGNORED for those that do not count.
    """
    found = matches[-1].object_found
    for index in images:
        record = annotations[index]
        try:
            plain = fit_height(record.read(), PICTURE_HEIGHT)
        except InputError:  # already reported
            continue
        scale = np.tile([plain.shape[1] / record.width, PICTURE_HEIGHT / record.height], 2)
        own = slice(annotations.offsets[index], annotations.offsets[index + 1])
        objects = [
            Mark(box * scale, names[label], IGNORED if crowd else FOUND if hit else MISSED)
            for box, label, hit, crowd in zip(record.boxes, record.labels, found[own], record.crowd)
        ]
        marks, left_out = [objects], []
        for each in matches:
            rows = np.arange(*np.searchsorted(each.image, [index, index + 1]))
            hit = each.found[rows] != NOTHING
            drawn = drawn_once(each.corners[rows], each.label[rows], hit)
            marks.append([detection(each, row, scale, names) for row in rows[drawn]])
            left_out.append(int((~drawn).sum()))
        pictures = [plain.copy() for _ in marks]
        for picture, shown in zip(pictures, marks):
            draw_marks(picture, shown)
        yield Panels(index, record, pictures, left_out)


def drawn_once(corners: np.ndarray, labels: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Which (R,) of the boxes (R,4), best first, to draw.

    Those that found an object, `hit` (R,), and those without a better one of another class in their
    place.
    """
    same = (iou(corners, corners) >= SAME_OBJECT_IOU) & (labels[:, None] != labels)  # (R,R)
    drawn = np.ones(len(labels), bool)
    for row in range(len(labels)):
        drawn[row] = hit[row] or not (same[row, :row] & drawn[:row]).any()
    return drawn


def detection(matches: Matches, row: int, scale: np.ndarray, names: tuple[str, ...]) -> Mark:
    """A detection in a picture that is scaled (4,)."""
    hit = matches.found[row] != NOTHING
    colour = IGNORED if matches.ignored[row] else FOUND if hit else MISSED
    text = f"{names[matches.label[row]]} {matches.score[row]:.2f}"
    return Mark(matches.corners[row] * scale, text, colour)


def jpeg(picture: np.ndarray) -> bytes:
    """The picture (H,W,3) as JPEG."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()
