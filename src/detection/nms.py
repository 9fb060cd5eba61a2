"""Suppression of boxes that show the same object."""

import math

import numpy as np

GAP = 1.0  # pixels between the boxes of two classes after they are moved


def class_offset(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Boxes (P,4) as float64, each label's moved away from all others.

    So one suppression serves all classes. The distance is a power of two, which leaves sides and
    overlaps the same in double precision.
    """
    extent = float(boxes.max(initial=0) - boxes.min(initial=0)) + GAP
    distance = 2.0 ** math.ceil(math.log2(extent))
    return boxes + labels[:, None] * distance


def nms(boxes: np.ndarray, max_iou: float, limit: int = 0) -> np.ndarray:
    """Indices, in ascending order, of the boxes that greedy suppression keeps.

    The loop is over the kept boxes, at most `limit`, and compares each with all remaining at once.

    Args:
        boxes: (P,4), best score first.
        max_iou: a box is dropped if its IoU with a kept one is above this.
        limit: boxes to keep; 0 keeps all that survive.
    """
    kept: list[int] = []
    left = np.arange(len(boxes))
    sides = np.ascontiguousarray(boxes.T, np.float64)  # (4,P)
    while len(left) and not (limit and len(kept) == limit):
        kept.append(int(left[0]))
        alive = iou_with_one(sides, 0) <= max_iou
        alive[0] = False  # an empty box does not overlap even itself
        left, sides = left[alive], sides[:, alive]
    return np.array(kept, np.int64)


def soft_nms(
    boxes: np.ndarray, scores: np.ndarray, *, sigma: float, least: float, limit: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Suppression that lowers scores: by exp(-IoU^2 / sigma) with each better box.

    Returns indices and scores, best first. Source: Soft-NMS (Bodla et al., 2017), Gaussian.

    Args:
        boxes: (P,4).
        scores: (P,), best first.
        sigma: the smaller, the more overlaps cost.
        least: boxes whose score falls to this are dropped.
        limit: boxes to keep; 0 keeps all that survive.
    """
    kept: list[int] = []
    final: list[float] = []
    left = np.arange(len(boxes))
    sides = np.ascontiguousarray(boxes.T, np.float64)  # (4,P)
    scores = scores.astype(np.float64)
    while len(left) and not (limit and len(kept) == limit):
        best = int(scores.argmax())  # of equal scores the first
        kept.append(int(left[best]))
        final.append(float(scores[best]))
        scores *= np.exp(-(iou_with_one(sides, best) ** 2) / sigma)
        alive = scores > least
        alive[best] = False
        left, sides, scores = left[alive], sides[:, alive], scores[alive]
    return np.array(kept, np.int64), np.array(final)


def iou_with_one(sides: np.ndarray, one: int) -> np.ndarray:
    """IoU (P,) of all boxes, given as x1, y1, x2, y2 (4,P), with one of them."""
    x1, y1, x2, y2 = sides
    width = np.minimum(x2, x2[one]) - np.maximum(x1, x1[one])
    height = np.minimum(y2, y2[one]) - np.maximum(y1, y1[one])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (x2 - x1) * (y2 - y1)
    union = areas + areas[one] - shared
    return shared / np.maximum(union, np.finfo(np.float64).tiny)
