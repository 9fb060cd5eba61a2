"""Whether an exported file finds what the network does: the same objects, not only near numbers.

Near numbers can make other detections where a score is next to a threshold, where two scores are
next to each other, or where an overlap is next to the one that suppression takes for too much.
Only there may the file differ.
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np

from src.detection.boxes import clip, iou
from src.detection.postprocess import Detections, Postprocessor, best_first

# a hundredth of a pixel, since float32 has steps of 0.00006 at 640, and a difference of scores that
# no threshold is set to
MAX_BOX_DIFFERENCE, MAX_SCORE_DIFFERENCE = 1e-2, 1e-4
UNSURE_IOU = 1e-3  # from the limit of suppression, either way
SPARE = 4  # times as many candidates as the file gives are compared with
LEAST_SHARE = 0.5  # of what a file gives must have been compared
SHOWN = 3


@dataclass(frozen=True)
class Reference:
    """What the network says of an image.

    Args:
        sure: detections that the file has to give.
        possible: all that it may give, each once.
        cut: scores of about this and below are not looked at; the network may have more of them.
        limit: rows that the file gives at most.
        candidates: what entered suppression; None where there is none.
        max_iou: two candidates that overlap more suppress each other,
        class_agnostic: of different classes too.
    """

    sure: Detections
    possible: Detections
    cut: float
    limit: int
    candidates: Optional[Detections] = None
    max_iou: float = 1.0
    class_agnostic: bool = False

    def without_twins(self, extra: Detections, lost: Detections) -> tuple[Detections, Detections]:
        """Both without candidates of which the other has one that it won or lost to by a hair."""
        if self.candidates is None or not (len(extra.scores) and len(lost.scores)):
            return extra, lost
        twins = iou(extra.boxes, lost.boxes) > self.max_iou - UNSURE_IOU  # (extra,lost)
        twins &= np.abs(extra.scores[:, None] - lost.scores[None]) <= MAX_SCORE_DIFFERENCE
        twins &= (extra.labels[:, None] == lost.labels[None]) | self.class_agnostic
        twins &= (equals(extra, self.candidates) >= 0)[:, None]
        return extra.take(~twins.any(axis=1)), lost.take(~twins.any(axis=0))


def reference(
    deltas: np.ndarray,
    logits: np.ndarray,
    anchors: np.ndarray,
    image_size: tuple[int, int],
    *,
    candidates: int,
    suppression: Optional[dict],
) -> Reference:
    """What a file should give for deltas (A,4) and logits (A,K) of an image, by `detection`.

    Args:
        candidates: P; all there are where there are fewer.
        suppression: "score_threshold", "max_iou", "class_agnostic", "max_detections"; None without.

    Raises:
        NotFinite: the network's outputs are no numbers.
    """
    every = Postprocessor(
        score_threshold=0.0, candidates=SPARE * candidates, nms_iou=1.0, max_detections=0
    )
    pool = every.decoded(deltas, logits, anchors)
    pool = Detections(clip(pool.boxes, *image_size[::-1]), pool.scores, pool.labels)
    candidates = min(candidates, logits.size)
    if suppression is None:
        full = len(pool.scores) == SPARE * candidates
        cut = float(pool.scores[-1]) if full else -np.inf
        return Reference(pool.take(slice(candidates)), pool, cut, candidates)
    last_candidate = pool.scores[min(candidates, len(pool.scores)) - 1]
    threshold, limit = suppression["score_threshold"], suppression["max_detections"]
    pool = pool.take(np.flatnonzero(pool.scores > threshold)[:candidates])
    sure = possible = suppressed(pool, suppression, 0)
    for change in (-UNSURE_IOU, UNSURE_IOU):
        other = suppressed(pool, suppression, change)
        sure = sure.take(equals(sure, other) >= 0)
        possible = best_first([possible, other.take(equals(other, possible) < 0)])
    cut = max(threshold, float(last_candidate))
    return Reference(
        sure, possible, cut, limit, pool, suppression["max_iou"], suppression["class_agnostic"]
    )


def suppressed(found: Detections, suppression: dict, change: float) -> Detections:
    """What is left of candidates, if the largest overlap allowed were changed by so much."""
    postprocess = Postprocessor(
        score_threshold=suppression["score_threshold"],
        candidates=0,
        nms_iou=max(suppression["max_iou"] + change, 0),
        class_agnostic=suppression["class_agnostic"],
        max_detections=suppression["max_detections"],
    )
    return postprocess([found])


def equals(these: Detections, those: Detections) -> np.ndarray:
    """(n,) for each of `these` the index of one of `those` that it equals; -1 for none.

    Equal are two of one class whose boxes and scores differ by no more than the limits. None of
    `those` is given twice.
    """
    far = np.abs(these.boxes[:, None] - those.boxes[None]).max(axis=2, initial=0)  # (n,m) pixels
    equal = far <= MAX_BOX_DIFFERENCE
    equal &= np.abs(these.scores[:, None] - those.scores[None]) <= MAX_SCORE_DIFFERENCE
    equal &= these.labels[:, None] == those.labels[None]
    far = np.where(equal, far, np.inf)
    found = np.full(len(these.scores), -1)
    for row in np.flatnonzero(equal.any(axis=1)):
        nearest = int(far[row].argmin())
        if np.isfinite(far[row, nearest]):
            found[row] = nearest
            far[:, nearest] = np.inf  # taken
    return found


@dataclass
class Comparison:
    """Largest differences of what was found on several images, and what was not found again."""

    boxes: float = 0.0
    scores: float = 0.0
    compared: int = 0
    problems: tuple[str, ...] = ()

    def add(self, found: Detections, wanted: Reference, image: int) -> None:
        """Compares what a file found in one more image with what it should find.

        Args:
            found: all rows that the file gives, without empty ones.
        """
        if (np.diff(found.scores) > MAX_SCORE_DIFFERENCE).any():
            self.problems += (f"image {image}: the best score does not come first",)
        back = equals(found, wanted.possible)
        extra = found.take((back < 0) & (found.scores > wanted.cut + MAX_SCORE_DIFFERENCE))
        # what comes after the last row is not to be seen
        last = float(found.scores.min()) if len(found.scores) == wanted.limit else -np.inf
        floor = max(last, wanted.cut) + MAX_SCORE_DIFFERENCE
        lost = wanted.sure.take((equals(wanted.sure, found) < 0) & (wanted.sure.scores > floor))
        extra, lost = wanted.without_twins(extra, lost)
        self.problems += told(extra, f"image {image}: only the file finds")
        self.problems += told(lost, f"image {image}: only the network finds")
        same = back >= 0
        if same.sum() < LEAST_SHARE * len(found.scores):
            self.problems += (
                f"image {image}: {same.sum()} of {len(found.scores)} rows have an equal among the "
                "network's, and the others' scores are too close together to compare them",
            )
        if same.any():
            one, other = found.take(same), wanted.possible.take(back[same])
            self.boxes = max(self.boxes, float(np.abs(one.boxes - other.boxes).max()))
            self.scores = max(self.scores, float(np.abs(one.scores - other.scores).max()))
            self.compared += int(same.sum())


def told(found: Detections, what: str) -> tuple[str, ...]:
    """A line for each of the first detections."""
    rows = zip(found.boxes[:SHOWN].tolist(), found.scores, found.labels)
    return tuple(
        f"{what} label {label}, score {score:.6f}, box {[round(side, 3) for side in box]}"
        for box, score, label in rows
    )
