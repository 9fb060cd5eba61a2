"""Cells for export: suppression of overlapping boxes, and the detector with it."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.models.candidates import Candidates

NO_OBJECT = -1  # label of a row without a detection; its score and box are 0


class Suppression(nn.Cell):
    """Greedy suppression for a batch, equal to `detection.nms`.

    A candidate is kept if no better kept one of its class overlaps it too much. Starting with all
    kept, this is repeated until nothing changes; the number of rounds is at most the length of the
    longest chain of boxes that suppress one another.

    Args:
        candidates: P.
        score_threshold: only higher scores count.
        nms_iou: a box is dropped if its IoU with a kept one is higher.
        class_agnostic: whether boxes of different classes suppress each other.
        max_detections: the output has D = min(max_detections, P) rows.
    """

    def __init__(
        self,
        candidates: int,
        *,
        score_threshold: float,
        nms_iou: float,
        class_agnostic: bool,
        max_detections: int,
    ):
        super().__init__(auto_prefix=False)
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.class_agnostic = class_agnostic
        self.candidates = candidates
        self.detections = min(max_detections, candidates)
        self.is_better = ms.Tensor(np.triu(np.ones((candidates, candidates), np.float32), k=1))
        self.rank = ms.Tensor(np.arange(candidates, 0, -1, dtype=np.float32))  # (P,), best highest

    def construct(self, boxes, scores, labels):
        """Candidates, best first -> boxes (N,D,4), scores (N,D), labels (N,D); see NO_OBJECT."""
        suppresses = ops.cast(self.overlaps(boxes), ms.float32) * self.is_better  # (N,P,P)
        if not self.class_agnostic:
            same = labels.expand_dims(2) == labels.expand_dims(1)
            suppresses = suppresses * ops.cast(same, ms.float32)
        alive = ops.cast(scores > self.score_threshold, ms.float32)
        kept = alive
        changed = kept.sum()
        while changed > 0:
            hits = ops.bmm(kept.expand_dims(1), suppresses).squeeze(1)  # (N,P)
            still = alive * ops.cast(hits < 1, ms.float32)
            changed = ops.abs(still - kept).sum()
            kept = still
        rank, row = ops.topk(kept * self.rank, self.detections)  # (N,D)
        is_object = rank > 0
        shown = ops.cast(is_object, ms.float32)
        scores = ops.gather_elements(scores, 1, row) * shown
        boxes = ops.gather_elements(boxes, 1, ops.tile(row.expand_dims(2), (1, 1, 4)))
        labels = ops.gather_elements(labels, 1, row)
        labels = ops.select(is_object, labels, ops.zeros_like(labels) + NO_OBJECT)
        return boxes * shown.expand_dims(2), scores, labels

    def overlaps(self, boxes):
        """Boxes (N,P,4) -> (N,P,P), whether the IoU of each pair is above `nms_iou`."""
        shared = self.extent(boxes[..., 0], boxes[..., 2])
        shared = shared * self.extent(boxes[..., 1], boxes[..., 3])
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])  # (N,P)
        union = areas.expand_dims(2) + areas.expand_dims(1) - shared
        return shared > union * self.nms_iou

    def extent(self, low, high):
        """Lower and upper edges (N,P) of boxes -> (N,P,P), overlap of each pair on that axis.

        Tiled, since MindSpore's minimum and maximum take 13 times as long with broadcasting.
        """
        across, down = (1, 1, self.candidates), (1, self.candidates, 1)
        top = ops.minimum(
            ops.tile(high.expand_dims(2), across), ops.tile(high.expand_dims(1), down)
        )
        bottom = ops.maximum(
            ops.tile(low.expand_dims(2), across), ops.tile(low.expand_dims(1), down)
        )
        return ops.relu(top - bottom)


class DeployedDetector(nn.Cell):
    """Candidates of images or, with suppression, detections."""

    def __init__(self, candidates: Candidates, suppression: Suppression | None):
        super().__init__(auto_prefix=False)
        self.candidates = candidates
        self.suppression = suppression

    def construct(self, images):
        """Images (N,H,W,3) uint8 RGB -> boxes, scores, labels."""
        found = self.candidates(images)
        return found if self.suppression is None else self.suppression(*found)
