"""Whether an exported file finds what the network does: the same objects, not only near numbers.

Near numbers can make other detections where a score is next to a threshold, or an overlap next to
the one that suppression takes for too much. Only there may the file differ.
"""

from dataclasses import dataclass
from typing import Optional

import numpy as np

from src.detection.boxes import clip
from src.detection.postprocess import Detections, Postprocessor

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
        possible: all that it may give.
        cut: scores of about this and below are not looked at; the network may have more of them.
        limit: rows that the file gives at most.
    """

    sure: Detections
    possible: Detections
    cut: float
    limit: int


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
        candidates: P.
        suppression: "score_threshold", "max_iou", "class_agnostic", "max_detections"; None without.
    """
    settings = {"candidates": SPARE * candidates, "max_detections": 0}
    if suppression is None:
        every = Postprocessor(score_threshold=0.0, nms_iou=1.0, **settings)
        pool = clipped(every.decoded(deltas, logits, anchors), image_size)
        cut = float(pool.scores[-1]) if len(pool.scores) == SPARE * candidates else -np.inf
        return Reference(pool.take(slice(candidates)), pool, cut, candidates)
    limit = suppression["max_detections"]
    settings.update(candidates=candidates, max_detections=limit)
    found = []
    for change in (0, -UNSURE_IOU, UNSURE_IOU):
        postprocess = Postprocessor(
            score_threshold=suppression["score_threshold"],
            nms_iou=suppression["max_iou"] + change,
            class_agnostic=suppression["class_agnostic"],
            **settings,
        )
        found.append(
            postprocess([clipped(postprocess.decoded(deltas, logits, anchors), image_size)])
        )
    sure = found[0]
    for other in found[1:]:
        sure = sure.take(nearest(sure, other) >= 0)
    possible = Detections(
        np.concatenate([part.boxes for part in found]),
        np.concatenate([part.scores for part in found]),
        np.concatenate([part.labels for part in found]),
    )
    full = any(len(part.scores) == limit for part in found)
    lowest = possible.scores.min() if full else suppression["score_threshold"]
    return Reference(sure, possible, float(lowest), limit)


def clipped(found: Detections, image_size: tuple[int, int]) -> Detections:
    """The detections with their boxes cut to the input's (height, width)."""
    height, width = image_size
    return Detections(clip(found.boxes, width, height), found.scores, found.labels)


def nearest(these: Detections, those: Detections) -> np.ndarray:
    """(n,) for each of `these` the index of the one of `those` that it equals; -1 for none.

    Equal are two of one class whose boxes and scores differ by no more than the limits.
    """
    if not len(those.scores):
        return np.full(len(these.scores), -1)
    far = np.abs(these.boxes[:, None] - those.boxes[None]).max(axis=2)  # (n,m) pixels
    equal = far <= MAX_BOX_DIFFERENCE
    equal &= np.abs(these.scores[:, None] - those.scores[None]) <= MAX_SCORE_DIFFERENCE
    equal &= these.labels[:, None] == those.labels[None]
    best = np.where(equal, far, np.inf).argmin(axis=1)
    return np.where(equal.any(axis=1), best, -1)


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
        back = nearest(found, wanted.possible)
        extra = found.take((back < 0) & (found.scores > wanted.cut + MAX_SCORE_DIFFERENCE))
        # what comes after the last row is not to be seen
        last = float(found.scores[-1]) if len(found.scores) == wanted.limit else -np.inf
        floor = max(last, wanted.cut) + MAX_SCORE_DIFFERENCE
        lost = wanted.sure.take((nearest(wanted.sure, found) < 0) & (wanted.sure.scores > floor))
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
    """A line for each of the detections, a few at most."""
    rows = zip(found.boxes[:SHOWN].tolist(), found.scores, found.labels)
    return tuple(
        f"{what} label {label}, score {score:.6f}, box {[round(side, 3) for side in box]}"
        for box, score, label in rows
    )
