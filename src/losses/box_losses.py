"""Losses of the boxes, by their names in the configuration.

A box loss is one or more named terms. A term is a cell on

    deltas (N,A,4): predicted; boxes (N,A,4): each anchor's own object, in pixels

that returns (N,A) float32; only anchors with an object count. To add a loss, write the cell, enter
a function that builds {term name: cell} in BOX_LOSSES, and name it at `box_loss` in
config/default.yaml. The first term's name is box_loss; each term gets a record and a curve.
"""

from mindspore import nn, ops

from src.detection.box_coder import BoxCoder
from src.losses.overlap import ciou, giou


class SmoothL1(nn.Cell):
    """Smooth L1 (Girshick, 2015), mean over the deltas: quadratic below beta, linear above."""

    def __init__(self, coder: BoxCoder, *, beta: float):
        super().__init__()
        self.coder, self.beta = coder, beta

    def construct(self, deltas, boxes):
        distance = ops.abs(deltas - self.coder.encode(boxes))  # (N,A,4)
        quadratic = 0.5 * distance * distance / self.beta
        return ops.select(distance < self.beta, quadratic, distance - 0.5 * self.beta).mean(-1)


class L1(nn.Cell):
    """Distance of the deltas, mean over the four."""

    def __init__(self, coder: BoxCoder):
        super().__init__()
        self.coder = coder

    def construct(self, deltas, boxes):
        return ops.abs(deltas - self.coder.encode(boxes)).mean(-1)


class GIoULoss(nn.Cell):
    """1 - generalised IoU of the decoded box and its object (Rezatofighi et al., 2019), 0..2."""

    def __init__(self, coder: BoxCoder):
        super().__init__()
        self.coder = coder

    def construct(self, deltas, boxes):
        return 1 - giou(self.coder.decode(deltas), boxes)


class CIoULoss(nn.Cell):
    """1 - complete IoU of the decoded box and its object (Zheng et al., 2020), 0..3."""

    def __init__(self, coder: BoxCoder):
        super().__init__()
        self.coder = coder

    def construct(self, deltas, boxes):
        return 1 - ciou(self.coder.decode(deltas), boxes)


# builders by the names in the configuration; each takes it and the coder
BOX_LOSSES = {
    "smooth_l1": lambda cfg, coder: {"box_loss": SmoothL1(coder, beta=cfg.smooth_l1_beta)},
    "l1": lambda cfg, coder: {"box_loss": L1(coder)},
    "giou": lambda cfg, coder: {"box_loss": GIoULoss(coder)},
    "ciou": lambda cfg, coder: {"box_loss": CIoULoss(coder)},
}
