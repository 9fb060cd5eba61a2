"""The loss of boxes that are predicted as distributions."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.box_coder import DistributionCoder


class DistributionFocalLoss(nn.Cell):
    """Distribution focal loss (Li et al., 2020), mean over the four sides.

    The cross-entropy of the two bins around a side's true distance, weighted by how near they are.
    Distances beyond the last bin, or on the wrong side of the centre, count as those of the last or
    the first bin.

    Args:
        coder: of the distributions.
        anchors: (A,4) float32; strides: (A,) pixels, of each anchor's level.
        weight: of this term in the total loss.
    """

    def __init__(
        self, coder: DistributionCoder, anchors: np.ndarray, strides: np.ndarray, *, weight: float
    ):
        super().__init__()
        self.coder, self.weight = coder, weight
        self.centres = ms.Tensor((anchors[:, :2] + anchors[:, 2:]) / 2)  # (A,2)
        self.strides = ms.Tensor(strides[:, None].astype(np.float32))  # (A,1)

    def construct(self, logits, boxes):
        """Logits (N,A,4 * bins) and each anchor's own object (N,A,4) in pixels -> (N,A)."""
        shares = ops.log_softmax(self.coder.split(logits), -1)  # (N,A,4,bins)
        bins = self.coder.distances  # (bins,)
        target = ops.expand_dims(self.targets(boxes), -1)  # (N,A,4,1)
        nearness = ops.relu(1 - ops.abs(target - bins))  # (N,A,4,bins), above 0 for at most two
        return -self.weight * (nearness * shares).sum(-1).mean(-1)

    def targets(self, boxes):
        """True distances (N,A,4) of the sides from the anchor's centre, in strides."""
        before, behind = self.centres - boxes[..., :2], boxes[..., 2:] - self.centres  # (N,A,2)
        distances = ops.concat([before / self.strides, behind / self.strides], axis=-1)
        return ops.clamp(distances, 0.0, self.coder.bins - 1.0)
