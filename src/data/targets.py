"""Targets of the losses as arrays of a batch, in training and in evaluation."""

import numpy as np

from src.data.workers import Arrays, Layout
from src.detection.assign import Assigner

TARGETS = ("assigned", "boxes", "labels")  # arrays that the losses take, see TrainBatch


def target_layout(n: int, assigner: Assigner, objects: int) -> Layout:
    """The arrays of targets for n images of at most `objects` boxes."""
    objects = max(objects, 1)
    return {
        "assigned": ((n, len(assigner.anchors)), np.int32),
        "boxes": ((n, objects, 4), np.float32),
        "labels": ((n, objects), np.int32),
    }


def write_targets(
    batch: Arrays,
    row: int,
    assigner: Assigner,
    boxes: np.ndarray,
    labels: np.ndarray,
    crowd: np.ndarray,
) -> None:
    """Writes the targets of one image: boxes (G,4) in the input's pixels, labels and crowd (G,)."""
    count = len(boxes)
    batch["assigned"][row] = assigner(boxes, crowd)
    batch["boxes"][row, :count] = boxes
    batch["boxes"][row, count:] = (0, 0, 1, 1)  # positive sides keep log() finite
    batch["labels"][row, :count] = labels
    batch["labels"][row, count:] = 0
