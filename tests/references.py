"""Slow, independent references in plain Python, and random inputs for them."""

import math

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def slow_iou(a, b) -> float:
    """IoU of two boxes in plain Python."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def slow_nms(boxes, labels, max_iou) -> list[int]:
    """Greedy suppression within each class in plain Python; boxes are sorted by score."""
    kept = []
    for index, box in enumerate(boxes):
        if all(labels[k] != labels[index] or slow_iou(boxes[k], box) <= max_iou for k in kept):
            kept.append(index)
    return kept


def slow_encode(box, anchor) -> list[float]:
    """Deltas of a box from the SSD paper: centre offsets / 0.1, log side ratios / 0.2."""
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    return [
        ((box[0] + box[2]) / 2 - (anchor[0] + anchor[2]) / 2) / width / 0.1,
        ((box[1] + box[3]) / 2 - (anchor[1] + anchor[3]) / 2) / height / 0.1,
        math.log((box[2] - box[0]) / width) / 0.2,
        math.log((box[3] - box[1]) / height) / 0.2,
    ]


def slow_nearest(point, image_size, count, *, per_cell, offset=0.5) -> list[int]:
    """Anchors of each level's nearest cells: all cells sorted by distance, then by order."""
    found, first = [], 0
    for stride in (8, 16, 32, 64, 128):
        rows, columns = (math.ceil(side / stride) for side in image_size)
        cells = [(row, column) for row in range(rows) for column in range(columns)]
        distances = [
            ((column + offset) * stride - point[0]) ** 2 + ((row + offset) * stride - point[1]) ** 2
            for row, column in cells
        ]
        order = sorted(range(len(cells)), key=lambda cell: (distances[cell], cell))
        for cell in order[:count]:
            found += range((first + cell) * per_cell, (first + cell + 1) * per_cell)
        first += len(cells)
    return found


def random_boxes(rng, count):
    corners = rng.uniform(0, 100, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(2, 60, (count, 2))], axis=1)


def bare_coco_stats(truth_path, results_path) -> list[float]:
    """COCOeval's twelve numbers for two files, with pycocotools alone."""
    truth = COCO(str(truth_path))
    metric = COCOeval(truth, truth.loadRes(str(results_path)), "bbox")
    metric.evaluate()
    metric.accumulate()
    metric.summarize()
    return list(metric.stats)
