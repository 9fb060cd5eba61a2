"""Images with ground truth and detections drawn beside each other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations, Record
from src.data.drawing import FOUND, IGNORED, MISSED, draw_box, fit_height
from src.evaluation.matching import NOTHING, Matches
from src.runtime.errors import InputError

PICTURE_HEIGHT = 320  # of each drawn image, in pixels
GAP = 4  # pixels between the two halves


@dataclass(frozen=True)
class Flawed:
    """An image, an index, with its false detections and missed objects."""

    image: int
    false: int
    missed: int


def flawed_images(annotations: Annotations, matches: Matches, least: float) -> list[Flawed]:
    """The images with a false or missed box, most of them first.

    Args:
        least: detections of a lower score do not exist.
    """
    images = len(annotations)
    false = np.bincount(
        matches.image[matches.is_wrong & (matches.score >= least)], minlength=images
    )
    unfound = ~found_objects(annotations, matches, least) & ~annotations.crowd
    missed = np.bincount(annotations.owners()[unfound], minlength=images)
    order = np.argsort(-(false + missed), kind="stable")
    flawed = order[: np.count_nonzero(false + missed)].tolist()
    return [Flawed(image, int(false[image]), int(missed[image])) for image in flawed]


def found_objects(annotations: Annotations, matches: Matches, least: float) -> np.ndarray:
    """(B,) whether an object was found by a detection of at least that score."""
    found = np.zeros(len(annotations.boxes), bool)
    found[matches.found[(matches.found != NOTHING) & (matches.score >= least)]] = True
    return found


def draw_images(
    annotations: Annotations,
    names: tuple[str, ...],
    matches: Matches,
    images: Iterable[int],
    least: float,
) -> Iterator[tuple[int, Record, np.ndarray]]:
    """Draws images: ground truth left, detections right.

    Objects that were found and detections that found one are FOUND's colour, the others MISSED's,
    and what counts as neither IGNORED's.

    Args:
        names: of the classes, by label.
        images: indices into `annotations`.
        least: detections of a lower score are not drawn.

    Yields:
        Index, Record and picture (PICTURE_HEIGHT,W,3) uint8 RGB, but for images that cannot be
        read.
    """
    found = found_objects(annotations, matches, least)
    starts = np.searchsorted(matches.image, np.arange(len(annotations) + 1))
    for index in images:
        record = annotations[index]
        try:
            left = fit_height(record.read(), PICTURE_HEIGHT)
        except InputError:  # which was reported before
            continue
        right = left.copy()
        scale = np.tile([left.shape[1] / record.width, PICTURE_HEIGHT / record.height], 2)
        own = slice(annotations.offsets[index], annotations.offsets[index + 1])
        for box, label, hit, crowd in zip(record.boxes, record.labels, found[own], record.crowd):
            colour = IGNORED if crowd else FOUND if hit else MISSED
            draw_box(left, box * scale, names[label], colour)
        for row in range(starts[index + 1] - 1, starts[index] - 1, -1):  # the best on top
            if matches.score[row] < least:
                continue
            hit = matches.found[row] != NOTHING
            colour = IGNORED if matches.ignored[row] else FOUND if hit else MISSED
            text = f"{names[matches.label[row]]} {matches.score[row]:.2f}"
            draw_box(right, matches.corners[row] * scale, text, colour)
        gap = np.full((PICTURE_HEIGHT, GAP, 3), 255, np.uint8)
        yield index, record, np.hstack([left, gap, right])
