"""The network and the selection of its best predictions, as one graph."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.box_coder import BoxCoder


class Candidates(nn.Cell):
    """The network and its best predictions, as `detection.select` chooses them.

    Among equal scores MindSpore's TopK may take others, and in another order.

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
        self.coder = BoxCoder(anchors)
        height, width = image_size
        self.limits = ms.Tensor(np.array([width, height, width, height], np.float32))

    def construct(self, images):
        """Images (N,H,W,3) uint8 RGB -> boxes (N,P,4) in pixels, scores (N,P), labels (N,P) int32.

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
        boxes = ops.minimum(ops.maximum(self.coder.decode(own, anchor), 0.0), self.limits)
        return boxes, ops.sigmoid(best), labels


class CheckedCandidates(nn.Cell):
    """Candidates, whose scores are nan where any output of the network for the image is.

    TopK hides nan: some devices sort it last.
    """

    def __init__(self, candidates: Candidates):
        super().__init__(auto_prefix=False)
        self.candidates = candidates
        self.nan = ms.Tensor(np.nan, ms.float32)

    def construct(self, images):
        """As `Candidates.construct`."""
        deltas, logits = self.candidates.network(images)
        boxes, scores, labels = self.candidates.choose(deltas, logits)
        wrong = (deltas != deltas).any(axis=2).any(axis=1)  # (N,)
        wrong = ops.logical_or(wrong, (logits != logits).any(axis=2).any(axis=1))
        return boxes, ops.where(wrong.expand_dims(1), self.nan, scores), labels
