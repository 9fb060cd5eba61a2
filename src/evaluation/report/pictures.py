"""Draws ground truth and detections side by side."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations, Record
from src.data.drawing import FOUND, IGNORED, MISSED, Mark, draw_marks, fit_height
from src.evaluation.matching import NOTHING, Matches
from src.runtime.errors import InputError

PICTURE_HEIGHT = 320  # of each drawn image, in pixels
GAP = 4  # pixels between the two halves


@dataclass(frozen=True)
class ImageErrors:
    """The index of an image, and its counts of false detections and missed objects."""

    image: int
    false: int
    missed: int


def images_with_errors(
    annotations: Annotations, matches: Matches, min_score: float
) -> list[ImageErrors]:
    """The images with a false or missed box at scores from `min_score` up, most errors first."""
    images = len(annotations)
    wrong = matches.is_wrong & (matches.score >= min_score)
    false = np.bincount(matches.image[wrong], minlength=images)
    unfound = ~found_objects(annotations, matches, min_score) & ~annotations.crowd
    missed = np.bincount(annotations.owners()[unfound], minlength=images)
    order = np.argsort(-(false + missed), kind="stable")
    worst = order[: np.count_nonzero(false + missed)].tolist()
    return [ImageErrors(image, int(false[image]), int(missed[image])) for image in worst]


def found_objects(annotations: Annotations, matches: Matches, min_score: float) -> np.ndarray:
    """(B,) whether an object was found with a score of at least `min_score`."""
    found = np.zeros(len(annotations.boxes), bool)
    found[matches.found[(matches.found != NOTHING) & (matches.score >= min_score)]] = True
    return found


def draw_images(
    annotations: Annotations,
    names: tuple[str, ...],
    matches: Matches,
    images: Iterable[int],
    min_score: float,
) -> Iterator[tuple[int, Record, np.ndarray]]:
    """Draws images: ground truth left, detections from `min_score` up right.

    Colours: FOUND for found objects and right detections, MISSED for missed and false ones, IGNORED
    for those that do not count.

    Yields:
        Index, Record and picture (PICTURE_HEIGHT,W,3) uint8 RGB of each readable image.
    """
    found = found_objects(annotations, matches, min_score)
    starts = np.searchsorted(matches.image, np.arange(len(annotations) + 1))
    for index in images:
        record = annotations[index]
        try:
            left = fit_height(record.read(), PICTURE_HEIGHT)
        except InputError:  # already reported
            continue
        right = left.copy()
        scale = np.tile([left.shape[1] / record.width, PICTURE_HEIGHT / record.height], 2)
        own = slice(annotations.offsets[index], annotations.offsets[index + 1])
        objects = [
            Mark(box * scale, names[label], IGNORED if crowd else FOUND if hit else MISSED)
            for box, label, hit, crowd in zip(record.boxes, record.labels, found[own], record.crowd)
        ]
        draw_marks(left, objects)
        rows = [
            row
            for row in range(starts[index], starts[index + 1])
            if matches.score[row] >= min_score
        ]
        draw_marks(right, [detection(matches, row, scale, names) for row in rows])
        gap = np.full((PICTURE_HEIGHT, GAP, 3), 255, np.uint8)
        yield index, record, np.hstack([left, gap, right])


def detection(matches: Matches, row: int, scale: np.ndarray, names: tuple[str, ...]) -> Mark:
    """A detection in a picture that is scaled (4,)."""
    hit = matches.found[row] != NOTHING
    colour = IGNORED if matches.ignored[row] else FOUND if hit else MISSED
    text = f"{names[matches.label[row]]} {matches.score[row]:.2f}"
    return Mark(matches.corners[row] * scale, text, colour)
