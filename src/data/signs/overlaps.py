"""Signs of objects that share their box with another."""

from collections.abc import Iterator

import numpy as np

from src.data.annotations import Annotations
from src.data.signs.given_boxes import FEW
from src.data.signs.sign import Sign, first_boxes
from src.runtime.text import count

SAME = 0.9  # least overlap (IoU) of two boxes of one object
# how far apart their upper left corners are at most, in x and y together, as a share of width and
# height
NEAR = 0.12
LEAST = 5  # objects, for a sign


def paired_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) IoU of each of the boxes (N,4) with its partner (N,4)."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)
    ]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-12)


def close_pairs(boxes: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """(P,2) indices of boxes (B,4) of one image, by owners (B,), that overlap by SAME or more."""
    place = boxes[:, :2].sum(axis=1)
    order = np.lexsort([place, owners])
    reach = place[order] + NEAR * (boxes[:, 2:] - boxes[:, :2]).sum(axis=1)[order]
    found, rows, step = [], np.arange(len(order)), 0
    while len(rows):  # boxes whose following ones may still be near
        step += 1
        rows = rows[rows + step < len(order)]
        first, second = order[rows], order[rows + step]
        near = (owners[first] == owners[second]) & (place[second] <= reach[rows])
        rows, first, second = rows[near], first[near], second[near]
        same = paired_iou(boxes[first], boxes[second]) >= SAME
        found.append(np.stack([first[same], second[same]], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def overlap_signs(annotations: Annotations) -> Iterator[Sign]:
    """Many objects that are there twice, of one class or of two; crowds are left out."""
    own = np.flatnonzero(~annotations.crowd)
    boxes, owners = annotations.boxes[own].astype(np.float64), annotations.owners()[own]
    labels = annotations.labels[own]
    pairs = close_pairs(boxes, owners)
    alike = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    texts = (
        (
            "double_boxes",
            alike,
            "of the same class",
            "Probably objects are annotated twice, as where files were joined or tiles overlap",
            "keep one box of each object",
        ),
        (
            "two_classes",
            ~alike,
            "of another class",
            "Probably objects are annotated in two classes, as with a class and its kinds",
            "keep one class of each object: the network takes the other as wrong",
        ),
    )
    for name, which, whose, cause, advice in texts:
        rows = np.unique(pairs[which])
        if len(rows) < max(LEAST, FEW * len(boxes)):
            continue
        images = annotations.listed(np.unique(owners[rows]))
        yield Sign(
            name,
            found=f"{len(rows):,} of {count(len(boxes), 'object')} share their box with one "
            f"{whose}, by IoU {SAME:g} or more ({images})",
            cause=cause,
            advice=advice,
            **first_boxes(annotations.image_ids[owners[rows]], boxes[rows]),
        )
