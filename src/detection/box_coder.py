"""Deltas of boxes inside MindSpore's graphs, for the losses and for exported networks."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.anchors import build_anchors
from src.detection.boxes import CENTRE_VARIANCE, MAX_LOG_RATIO, SIZE_VARIANCE

MIN_RATIO = 1e-6  # of a predicted side to its anchor's: its log is finite, and exp() undoes it


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


class DistributionCoder(nn.Cell):
    """Turns distributions of a box's sides into deltas from its anchor (Li et al., 2020).

    For each side (left, top, right, bottom) there are logits over the distances 0..bins - 1 from
    the anchor's centre, in strides of the anchor's level. A side is at the expected distance.

    Args:
        sides: (B,2) widths and heights of a cell's anchors in strides, the same on each level.
        bins: distances to choose from.
    """

    def __init__(self, sides: np.ndarray, *, bins: int):
        super().__init__(auto_prefix=False)
        self.bins = bins
        self.anchors_per_cell = len(sides)
        self.sides = ms.Tensor(sides.astype(np.float32))  # (B,2)
        self.distances = ms.Tensor(np.arange(bins, dtype=np.float32))  # (bins,)

    def split(self, logits):
        """Logits (N,A,4 * bins) -> (N,A,4,bins)."""
        return logits.reshape(logits.shape[0], -1, 4, self.bins)

    def construct(self, logits):
        """Logits (N,A,4 * bins) float32 -> deltas (N,A,4), see `BoxCoder`."""
        shares = ops.softmax(self.split(logits), -1)  # (N,A,4,bins)
        expected = (shares * self.distances).sum(-1)  # (N,A,4)
        expected = expected.reshape(logits.shape[0], -1, self.anchors_per_cell, 4)  # by cells
        before, behind = expected[..., :2], expected[..., 2:]  # (N,A/B,B,2)
        offsets = (behind - before) * 0.5 / self.sides / CENTRE_VARIANCE
        ratios = ops.maximum((before + behind) / self.sides, MIN_RATIO)
        deltas = ops.concat([offsets, ops.log(ratios) / SIZE_VARIANCE], axis=-1)
        return deltas.reshape(logits.shape[0], -1, 4)


def build_distribution(cfg) -> DistributionCoder | None:
    """The coder of the configured distributions; None if the network predicts deltas."""
    if cfg.box_coding == "delta":
        return None
    anchors = build_anchors(cfg)
    return DistributionCoder(anchors.sides[0] / anchors.strides[0], bins=cfg.distribution_bins)
