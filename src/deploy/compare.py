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

    sure: Detections  # that the file must return
    possible: Detections  # that it may return, each once
    cut: float  # scores up to about this are not compared; the network may have more of them
    limit: int  # most rows that the file returns
    candidates: Detections | None = None  # input of suppression; None without suppression
    max_iou: float = 1.0  # candidates that overlap more suppress each other
    class_agnostic: bool = False  # whether candidates of different classes suppress each other

    def without_near_ties(
        self, extra: Detections, lost: Detections
    ) -> tuple[Detections, Detections]:
        """Both without near-tied candidates, of which either may have suppressed the other."""
        if self.candidates is None or not (len(extra.scores) and len(lost.scores)):
            return extra, lost
        near_ties = iou(extra.boxes, lost.boxes) > self.max_iou - IOU_MARGIN  # (extra,lost)
        near_ties &= np.abs(extra.scores[:, None] - lost.scores[None]) <= MAX_SCORE_DIFFERENCE
        near_ties &= (extra.labels[:, None] == lost.labels[None]) | self.class_agnostic
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
    suppression: dict | None,
    levels: Sequence[int] = (),
    window: np.ndarray | None = None,
) -> Reference:
    """What a file should return for deltas (A,4) and logits (A,K), by the code in `detection`.

    Args:
        candidates: most candidates of the file or, with `levels`, of each level.
        suppression: "score_threshold", "max_iou", "class_agnostic", "max_detections"; or None.
        levels: anchors of each level, if the file has the best of each.
        window: (4,) where the picture lies in a letterbox; predictions beside it are none.

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
    chosen = best_first([pool.take(slice(candidates)) for pool in pools])
    if suppression is None:
        full = [pool for pool in pools if len(pool.scores) == POOL_FACTOR * candidates]
        cut = max((float(pool.scores[-1]) for pool in full), default=-np.inf)
        sure = best_first([sure_candidates(pool, candidates) for pool in pools])
        return Reference(sure, best_first(pools), cut, len(chosen.scores))
    # others of a level may be chosen where scores are about the last chosen one's
    lasts = [pool.scores[candidates - 1] for pool in pools if len(pool.scores) > candidates]
    threshold, limit = suppression["score_threshold"], suppression["max_detections"]
    pool = chosen.take(chosen.scores > threshold)
    sure = possible = suppress(pool, suppression, 0)
    for change in (-IOU_MARGIN, IOU_MARGIN):
        other = suppress(pool, suppression, change)
        sure = sure.take(equal_indices(sure, other) >= 0)
        possible = best_first([possible, other.take(equal_indices(other, possible) < 0)])
    cut = float(max([threshold, *lasts]))
    return Reference(
        sure, possible, cut, limit, pool, suppression["max_iou"], suppression["class_agnostic"]
    )


def sure_candidates(pool: Detections, candidates: int) -> Detections:
    """The best of a pool without those whose scores are near that of the first not chosen."""
    if len(pool.scores) <= candidates:
        return pool
    floor = pool.scores[candidates] + MAX_SCORE_DIFFERENCE
    return pool.take(slice(candidates)).take(pool.scores[:candidates] > floor)


def suppress(found: Detections, suppression: dict, change: float) -> Detections:
    """Candidates after suppression with its IoU limit changed by `change`."""
    postprocess = Postprocessor(
        score_threshold=suppression["score_threshold"],
        candidates=0,
        nms_iou=max(suppression["max_iou"] + change, 0),
        class_agnostic=suppression["class_agnostic"],
        max_detections=suppression["max_detections"],
    )
    return postprocess([found])


def equal_indices(these: Detections, those: Detections) -> np.ndarray:
    """(n,) index of an equal one in `those` for each of `these`, none twice; -1 without.

    Equal detections are of one class, with boxes and scores within the limits above.
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
