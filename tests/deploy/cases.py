"""Candidates that suppression may get wrong, as (boxes (P,4), scores (P,), labels (P,))."""

import numpy as np

from tests.references import random_boxes, slow_nms

P, CLASSES = 40, 3
MAX_IOU, THRESHOLD, DETECTIONS = 0.6, 0.1, 12


def stack(boxes, scores, labels):
    order = np.argsort(-np.asarray(scores), kind="stable")
    arrays = np.float32(boxes), np.float32(scores), np.int32(labels)
    return tuple(array[order] for array in arrays)


def cases() -> dict[str, tuple]:
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, P)
    near = boxes[rng.integers(0, 5, P)] + rng.normal(0, 2, (P, 4))
    scores, labels = rng.uniform(0, 1, P), rng.integers(0, CLASSES, P)
    chain = np.tile([0.0, 0, 20, 20], (P, 1)) + np.arange(P)[:, None] * 4  # each hits the next ones
    same = np.tile(boxes[:1], (P, 1))
    return {
        "random": stack(boxes, scores, labels),
        "crowded": stack(near, scores, labels),
        "one class": stack(near, scores, np.zeros(P)),
        "a chain": stack(chain, np.linspace(0.9, 0.2, P), np.zeros(P)),
        "identical": stack(same, scores, labels),
        "identical, tied": stack(same, np.full(P, 0.5), labels),
        "tied": stack(near, np.full(P, 0.5), labels),
        "nothing above": stack(boxes, scores * THRESHOLD, labels),
        "one above": stack(boxes, np.r_[0.9, np.full(P - 1, 0.05)], labels),
        "at the threshold": stack(boxes, np.full(P, np.float32(THRESHOLD)), labels),
        "without area": stack(boxes[:, [0, 1, 0, 1]], scores, labels),
    }


def expected(case, *, class_agnostic: bool):
    """What brute force keeps: rows of boxes, scores and labels, filled up with empty ones."""
    boxes, scores, labels = case
    above = int((scores > np.float32(THRESHOLD)).sum())
    groups = np.zeros_like(labels) if class_agnostic else labels
    kept = slow_nms(boxes[:above], groups[:above], MAX_IOU)[:DETECTIONS]
    rest = DETECTIONS - len(kept)
    return (
        np.concatenate([boxes[kept], np.zeros((rest, 4), np.float32)]),
        np.concatenate([scores[kept], np.zeros(rest, np.float32)]),
        np.concatenate([labels[kept], np.full(rest, -1, np.int32)]),
    )
