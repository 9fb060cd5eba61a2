"""Geometry of boxes (x1, y1, x2, y2) in pixels, x2 and y2 exclusive, in NumPy."""

import math

import numpy as np

CENTRE_VARIANCE = 0.1  # offsets are learnt in units of a tenth of the anchor
SIZE_VARIANCE = 0.2  # and log size ratios in fifths, as in the SSD paper's code
MAX_LOG_RATIO = math.log(1000 / 16)  # caps exp(): no box grows beyond 62.5 x its anchor


def area(boxes: np.ndarray) -> np.ndarray:
    """Boxes (...,4) -> areas (...,) in square pixels; 0 where x2 <= x1 or y2 <= y1."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Areas (M,N) that boxes a (M,4) share with boxes b (N,4)."""
    width = np.minimum(a[:, None, 2], b[None, :, 2])
    width -= np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3])
    height -= np.maximum(a[:, None, 1], b[None, :, 1])
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    return np.multiply(width, height, out=width)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (M,N) of boxes a (M,4) and b (N,4); 0 where both are empty."""
    overlap = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :]
    union -= overlap
    np.maximum(union, np.finfo(overlap.dtype).tiny, out=union)
    return np.divide(overlap, union, out=overlap)


def clip(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """Boxes (...,4) cut to an image of `width` x `height` pixels."""
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def decode(deltas: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Boxes (...,4) from deltas (...,4) and their anchors (...,4); see `box_coder.BoxCoder`."""
    anchor_sides = anchors[..., 2:] - anchors[..., :2]
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    centres = centres + deltas[..., :2] * CENTRE_VARIANCE * anchor_sides
    log_ratios = np.minimum(deltas[..., 2:] * SIZE_VARIANCE, MAX_LOG_RATIO)
    half_sides = np.exp(log_ratios) * anchor_sides / 2
    return np.concatenate([centres - half_sides, centres + half_sides], axis=-1)
