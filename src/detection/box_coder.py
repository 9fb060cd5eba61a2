"""Deltas of boxes inside MindSpore's graphs, for the losses and for exported networks."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.boxes import CENTRE_VARIANCE, MAX_LOG_RATIO, SIZE_VARIANCE


class BoxCoder(nn.Cell):
    """Turns boxes into deltas from their anchors, and back.

    (dx, dy) is the centre's offset in anchor sides / CENTRE_VARIANCE, (dw, dh) the log of the side
    ratio / SIZE_VARIANCE. Source: SSD (Liu et al., 2016).

    Args:
        anchors: (A,4) float32.
    """

    def __init__(self, anchors: np.ndarray):
        super().__init__(auto_prefix=False)
        self.centres = ms.Tensor((anchors[:, :2] + anchors[:, 2:]) / 2)  # (A,2)
        self.sides = ms.Tensor(anchors[:, 2:] - anchors[:, :2])  # (A,2)

    def encode(self, boxes):
        """Boxes (N,A,4) of positive sides, one an anchor -> deltas (N,A,4)."""
        offsets = (boxes[..., :2] + boxes[..., 2:]) * 0.5 - self.centres  # (N,A,2)
        ratios = (boxes[..., 2:] - boxes[..., :2]) / self.sides  # (N,A,2)
        return ops.concat(
            [offsets / self.sides / CENTRE_VARIANCE, ops.log(ratios) / SIZE_VARIANCE], axis=-1
        )

    def decode(self, deltas, anchor: ms.Tensor | None = None):
        """Deltas (N,P,4) of the anchors with indices (N,P), by default of all -> boxes (N,P,4)."""
        centres, sides = self.centres, self.sides
        if anchor is not None:
            centres, sides = ops.gather(centres, anchor, 0), ops.gather(sides, anchor, 0)  # (N,P,2)
        centres = centres + deltas[..., :2] * CENTRE_VARIANCE * sides
        log_ratios = ops.minimum(deltas[..., 2:] * SIZE_VARIANCE, MAX_LOG_RATIO)
        half_sides = ops.exp(log_ratios) * sides * 0.5
        return ops.concat([centres - half_sides, centres + half_sides], axis=-1)
