"""The graphs that are exported: the detector with what comes after it."""

from typing import Optional

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.boxes import CENTRE_VARIANCE, MAX_LOG_RATIO, SIZE_VARIANCE

NO_OBJECT = -1  # label of a row without a detection; its score and box are 0


class Candidates(nn.Cell):
    """The network and its best predictions, as `detection.select` chooses them.

    Of equal scores MindSpore's TopK may take others, and in another order.

    Args:
        network: gives deltas (N,A,4) and logits (N,A,K).
        anchors: default boxes (A,4).
        image_size: (height, width) that boxes are clipped to.
        count: P, predictions of each image; fewer where A * K is less.
    """

    def __init__(
        self, network: nn.Cell, anchors: np.ndarray, image_size: tuple[int, int], count: int
    ):
        super().__init__(auto_prefix=False)
        self.network = network
        self.num_classes = network.num_classes
        self.rows = min(count, len(anchors))
        self.count = min(count, self.rows * self.num_classes)
        self.anchor_centres = ms.Tensor((anchors[:, :2] + anchors[:, 2:]) / 2)  # (A,2)
        self.anchor_sides = ms.Tensor(anchors[:, 2:] - anchors[:, :2])  # (A,2)
        height, width = image_size
        self.limits = ms.Tensor(np.array([width, height, width, height], np.float32))

    def construct(self, images):
        """Images (N,S,S,3) uint8 RGB -> boxes (N,P,4) in pixels, scores (N,P), labels (N,P) int32.

        Best score first; labels are 0..K-1.
        """
        deltas, logits = self.network(images)
        # only default boxes whose best class is among the P best can hold one of the P best
        _, rows = ops.topk(logits.max(axis=2), self.rows)  # (N,R)
        of_classes = ops.tile(rows.expand_dims(2), (1, 1, self.num_classes))
        chosen = ops.gather_elements(logits, 1, of_classes)  # (N,R,K)
        best, place = ops.topk(chosen.reshape(chosen.shape[0], -1), self.count)  # (N,P)
        row = place // self.num_classes
        labels = place - row * self.num_classes
        anchor = ops.gather_elements(rows, 1, row)  # (N,P)
        own = ops.gather_elements(deltas, 1, ops.tile(anchor.expand_dims(2), (1, 1, 4)))
        return self.decode(own, anchor), ops.sigmoid(best), labels

    def decode(self, deltas, anchor):
        """Deltas (N,P,4) of the default boxes with indices (N,P) -> boxes (N,P,4), clipped."""
        centres = ops.gather(self.anchor_centres, anchor, 0)  # (N,P,2)
        sides = ops.gather(self.anchor_sides, anchor, 0)
        centres = centres + deltas[..., :2] * CENTRE_VARIANCE * sides
        log_ratios = ops.minimum(deltas[..., 2:] * SIZE_VARIANCE, MAX_LOG_RATIO)
        half_sides = ops.exp(log_ratios) * sides * 0.5
        boxes = ops.concat([centres - half_sides, centres + half_sides], axis=-1)
        return ops.minimum(ops.maximum(boxes, 0.0), self.limits)


class Suppression(nn.Cell):
    """Greedy suppression of candidates of all images at once, equal to `detection.nms`.

    A candidate is kept if none that is better, kept, and of its class overlaps it too much.
    Starting with all, this is applied until nothing changes: at the latest after as many rounds as
    the longest chain of boxes that suppress each other has links.

    Args:
        candidates: P.
        score_threshold: only higher scores count.
        max_iou: a box goes if its IoU with one that is kept is above this.
        class_agnostic: whether boxes of different classes suppress each other.
        max_detections: D, rows that come out; fewer where P is less.
    """

    def __init__(
        self,
        candidates: int,
        *,
        score_threshold: float,
        max_iou: float,
        class_agnostic: bool,
        max_detections: int,
    ):
        super().__init__(auto_prefix=False)
        self.score_threshold = score_threshold
        self.max_iou = max_iou
        self.class_agnostic = class_agnostic
        self.candidates = candidates
        self.detections = min(max_detections, candidates)
        self.is_better = ms.Tensor(np.triu(np.ones((candidates, candidates), np.float32), k=1))
        self.rank = ms.Tensor(np.arange(candidates, 0, -1, dtype=np.float32))  # (P,), best highest

    def construct(self, boxes, scores, labels):
        """Candidates, best first -> boxes (N,D,4), scores (N,D), labels (N,D) of what is kept.

        What is left of D rows has NO_OBJECT as label.
        """
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
        """Boxes (N,P,4) -> (N,P,P), whether the IoU of each two is above `max_iou`."""
        shared = self.extent(boxes[..., 0], boxes[..., 2])
        shared = shared * self.extent(boxes[..., 1], boxes[..., 3])
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])  # (N,P)
        union = areas.expand_dims(2) + areas.expand_dims(1) - shared
        return shared > union * self.max_iou

    def extent(self, low, high):
        """Lower and upper edges (N,P) of boxes -> (N,P,P), what each two share on that axis.

        Tiled, since MindSpore's minimum and maximum take 13 times as long when they broadcast.
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
    """From images to candidates and, unless there is no suppression, to detections."""

    def __init__(self, candidates: Candidates, suppression: Optional[Suppression]):
        super().__init__(auto_prefix=False)
        self.candidates = candidates
        self.suppression = suppression

    def construct(self, images):
        """Images (N,S,S,3) uint8 RGB -> boxes, scores, labels of the one or the other."""
        found = self.candidates(images)
        return found if self.suppression is None else self.suppression(*found)
