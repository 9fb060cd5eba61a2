"""The network with the choice of its best predictions, as one graph."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.boxes import CENTRE_VARIANCE, MAX_LOG_RATIO, SIZE_VARIANCE


class Candidates(nn.Cell):
    """The network and its best predictions, as `detection.select` chooses them.

    Of equal scores MindSpore's TopK may take others, and in another order.

    Args:
        network: gives deltas (N,A,4) and logits (N,A,K).
        anchors: (A,4).
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
        return self.choose(*self.network(images))

    def choose(self, deltas, logits):
        """`construct` from the network's outputs."""
        # only anchors whose best class is among the P best can hold one of the P best
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
        """Deltas (N,P,4) of the anchors with indices (N,P) -> boxes (N,P,4), clipped."""
        centres = ops.gather(self.anchor_centres, anchor, 0)  # (N,P,2)
        sides = ops.gather(self.anchor_sides, anchor, 0)
        centres = centres + deltas[..., :2] * CENTRE_VARIANCE * sides
        log_ratios = ops.minimum(deltas[..., 2:] * SIZE_VARIANCE, MAX_LOG_RATIO)
        half_sides = ops.exp(log_ratios) * sides * 0.5
        boxes = ops.concat([centres - half_sides, centres + half_sides], axis=-1)
        return ops.minimum(ops.maximum(boxes, 0.0), self.limits)


class CheckedCandidates(nn.Cell):
    """Candidates, whose scores are nan where any output of the network for the image is.

    TopK says nothing of nan: on some devices it sorts it last.
    """

    def __init__(self, candidates: Candidates):
        super().__init__(auto_prefix=False)
        self.candidates = candidates
        self.nan = ms.Tensor(np.nan, ms.float32)

    def construct(self, images):
        """What Candidates gives."""
        deltas, logits = self.candidates.network(images)
        boxes, scores, labels = self.candidates.choose(deltas, logits)
        wrong = (deltas != deltas).any(axis=2).any(axis=1)  # (N,)
        wrong = ops.logical_or(wrong, (logits != logits).any(axis=2).any(axis=1))
        return boxes, ops.where(wrong.expand_dims(1), self.nan, scores), labels
