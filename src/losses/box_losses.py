"""Losses of the boxes, by their names in the configuration.

A box loss is one or more named terms. A term is a cell on

    deltas (N,A,4): predicted; boxes (N,A,4): each anchor's own object, in pixels

that gives (N,A) float32, of which only anchors with an object count. To add one, write the cell and
a function that builds {term name: cell}, enter that in BOX_LOSSES, and name it at `box_loss` in
config/default.yaml. The first term's name is box_loss; all get a record and a curve.
"""

from mindspore import nn, ops

from src.detection.box_coder import BoxCoder


class SmoothL1(nn.Cell):
    """Smooth L1 (Girshick, 2015), mean over the deltas: quadratic below beta, linear above."""

    def __init__(self, coder: BoxCoder, *, beta: float):
        super().__init__()
        self.coder, self.beta = coder, beta

    def construct(self, deltas, boxes):
        distance = ops.abs(deltas - self.coder.encode(boxes))  # (N,A,4)
        quadratic = 0.5 * distance * distance / self.beta
        return ops.select(distance < self.beta, quadratic, distance - 0.5 * self.beta).mean(-1)


def build_smooth_l1(cfg, coder: BoxCoder) -> dict[str, nn.Cell]:
    """The smooth L1 loss that the configuration asks for."""
    return {"box_loss": SmoothL1(coder, beta=cfg.smooth_l1_beta)}


BOX_LOSSES = {"smooth_l1": build_smooth_l1}
