"""Checks that an exported file and the network detect the same objects.

Rounding may change detections where a score is close to a threshold, two scores are near-tied or an
IoU is close to the limit of suppression. Only there may the file differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.detection.boxes import clip, iou
from src.detection.postprocess import Detections, Postprocessor, best_first

# pixels, 160 times the step of float32 at 640; and finer than any score threshold in use
MAX_BOX_DIFFERENCE, MAX_SCORE_DIFFERENCE = 1e-2, 1e-4
IOU_MARGIN = 1e-3  # around the IoU limit of suppression
POOL_FACTOR = 4  # network candidates per candidate of the file
MIN_COMPARED_SHARE = 0.5  # of a file's rows
SHOWN_ROWS = 3


@dataclass(frozen=True)
class Reference:
    """What the network detects in an image."""

    sure: Detections  # the file must return these
    possible: Detections  # it may return these, each once
    cut: float  # scores up to about this are not compared: `possible` may lack some
    limit: int  # maximum number of rows that the file returns
    candidates: Detections | None = None  # input of suppression; None without suppression
    suppression: Postprocessor | None = None

    def without_near_ties(
        self, extra: Detections, lost: Detections
    ) -> tuple[Detections, Detections]:
        """Both without pairs of near-tied candidates: either may have suppressed the other."""
        if self.suppression is None or not (len(extra.scores) and len(lost.scores)):
            return extra, lost
        least_iou = self.suppression.nms_iou - IOU_MARGIN
        near_ties = iou(extra.boxes, lost.boxes) > least_iou  # (extra,lost)
        near_ties &= np.abs(extra.scores[:, None] - lost.scores[None]) <= MAX_SCORE_DIFFERENCE
        same_class = extra.labels[:, None] == lost.labels[None]
        near_ties &= same_class | self.suppression.class_agnostic
        near_ties &= (equal_indices(extra, self.candidates) >= 0)[:, None]
        return extra.take(~near_ties.any(axis=1)), lost.take(~near_ties.any(axis=0))

    def differences(self, found: Detections, index: np.ndarray) -> tuple[Detections, Detections]:
        """What only the file and what only the network finds, given `equal_indices` in possible."""
        extra = found.take((index < 0) & (found.scores > self.cut + MAX_SCORE_DIFFERENCE))
        # the file cuts off scores below its last row
        last = float(found.scores.min()) if len(found.scores) == self.limit else -np.inf
        floor = max(last, self.cut) + MAX_SCORE_DIFFERENCE
        is_lost = (equal_indices(self.sure, found) < 0) & (self.sure.scores > floor)
        return self.without_near_ties(extra, self.sure.take(is_lost))


def reference(
    deltas: np.ndarray,
    logits: np.ndarray,
    anchors: np.ndarray,
    image_size: tuple[int, int],
    *,
    candidates: int,
    suppression: Postprocessor | None,
    levels: Sequence[int] = (),
    window: np.ndarray | None = None,
) -> Reference:
    """What a file should return for deltas (A,4) and logits (A,K), by the code in `detection`.

    Args:
        candidates: maximum number in the file or, with `levels`, of each level.
        suppression: of the file's candidates, if it has one.
        levels: anchors of each level, if the file has the best of each.
        window: (4,) where the picture lies in a letterbox; predictions outside it do not count.

    Raises:
        NotFinite: nan or infinite outputs.
    """
    every = Postprocessor(
        score_threshold=0.0,
        candidates=POOL_FACTOR * candidates,
        nms_iou=1.0,
        max_detections=0,
        window=window,
    )
    pools, first = [], 0
    for count in levels or [len(anchors)]:
        rows = slice(first, first + count)
        pool = every.decoded(deltas[rows], logits[rows], anchors[rows])
        pools.append(replace(pool, boxes=clip(pool.boxes, *image_size[::-1])))
        first += count
    if suppression is None:
        return candidate_reference(pools, candidates)
    return detection_reference(pools, candidates, suppression)


def candidate_reference(pools: Sequence[Detections], count: int) -> Reference:
    """For a file without suppression that returns the `count` best of each pool."""
    full = [pool for pool in pools if len(pool.scores) == POOL_FACTOR * count]
    cut = max((float(pool.scores[-1]) for pool in full), default=-np.inf)
    limit = sum(min(len(pool.scores), count) for pool in pools)
    return Reference(
        best_first([sure_candidates(pool, count) for pool in pools]), best_first(pools), cut, limit
    )


def sure_candidates(pool: Detections, count: int) -> Detections:
    """The `count` best of a pool, except those nearly tied with the first one left out."""
    if len(pool.scores) <= count:
        return pool
    floor = pool.scores[count] + MAX_SCORE_DIFFERENCE
    return pool.take(slice(count)).take(pool.scores[:count] > floor)


def detection_reference(
    pools: Sequence[Detections], count: int, suppression: Postprocessor
) -> Reference:
    """For a file with suppression of the `count` best of each pool.

    Detections are sure if they do not depend on a change of the IoU limit by IOU_MARGIN.
    """
    chosen = best_first([pool.take(slice(count)) for pool in pools])
    chosen = chosen.take(chosen.scores > suppression.score_threshold)
    # near the score of the last chosen one the file may choose others
    lasts = [pool.scores[count - 1] for pool in pools if len(pool.scores) > count]
    cut = float(max([suppression.score_threshold, *lasts]))
    sure = possible = suppression([chosen])
    for change in (-IOU_MARGIN, IOU_MARGIN):
        other = replace(suppression, nms_iou=max(suppression.nms_iou + change, 0))([chosen])
        sure = sure.take(equal_indices(sure, other) >= 0)
        possible = best_first([possible, other.take(equal_indices(other, possible) < 0)])
    return Reference(sure, possible, cut, suppression.max_detections, chosen, suppression)


def equal_indices(these: Detections, those: Detections) -> np.ndarray:
    """(n,) for each of `these` the index of an equal one of `those`, none used twice; -1 if none.

    Equal detections have the same class, with boxes and scores within the limits above.
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
    """Largest differences of equal detections in several images, and other differences."""

    boxes: float = 0.0
    scores: float = 0.0
    compared: int = 0
    problems: tuple[str, ...] = ()

    def add(self, found: Detections, wanted: Reference, image: int) -> None:
        """Compares all rows of a file for an image, without empty ones, with its reference."""
        if (np.diff(found.scores) > MAX_SCORE_DIFFERENCE).any():
            self.problems += (f"image {image}: the best score does not come first",)
        index = equal_indices(found, wanted.possible)
        extra, lost = wanted.differences(found, index)
        self.problems += problem_lines(extra, f"image {image}: only the file finds")
        self.problems += problem_lines(lost, f"image {image}: only the network finds")
        same = index >= 0
        if same.sum() < MIN_COMPARED_SHARE * len(found.scores):
            self.problems += (
                f"image {image}: {same.sum()} of {len(found.scores)} rows equal one of the "
                "network's; the scores of the others are too close together to compare",
            )
        if same.any():
            one, other = found.take(same), wanted.possible.take(index[same])
            self.boxes = max(self.boxes, float(np.abs(one.boxes - other.boxes).max()))
            self.scores = max(self.scores, float(np.abs(one.scores - other.scores).max()))
            self.compared += int(same.sum())


def problem_lines(found: Detections, what: str) -> tuple[str, ...]:
    """A line for each of the first SHOWN_ROWS detections."""
    rows = zip(found.boxes[:SHOWN_ROWS].tolist(), found.scores, found.labels)
    return tuple(
        f"{what} label {label}, score {score:.6f}, box {[round(side, 3) for side in box]}"
        for box, score, label in rows
    )
