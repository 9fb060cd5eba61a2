"""Losses of the classes, by their names in the configuration.

A class loss is a cell on

    logits (N,A,K); labels (N,A): 0..K-1, BACKGROUND or IGNORED;
    deltas (N,A,4): predicted, for targets that depend on the predicted boxes;
    boxes (N,A,4): each anchor's own object, or any box where it has none

that gives (N,A) float32, 0 where an anchor is ignored. To add one, write the cell and a function
that builds it, enter that in CLASS_LOSSES, and name it at `class_loss` in config/default.yaml.
"""

import mindspore as ms
from mindspore import nn, ops

from src.detection.assign import IGNORED
from src.detection.box_coder import BoxCoder


def softplus(x):
    """log(1 + exp(x)) that neither overflows nor loses its gradient at large |x|."""
    positive = ops.relu(x)
    # x - 2 * positive is -|x|, but with the right slope at 0, where abs() has none
    return positive + ops.log1p(ops.exp(x - 2 * positive))


class FocalLoss(nn.Cell):
    """Sigmoid focal loss of each anchor, summed over the classes (Lin et al., 2017).

    All logits are first taken as background; an anchor with an object then swaps the loss of its
    own class. So no (N,A,K) target is built, and the loss of a logit is computed once.

    Args:
        alpha: weight of objects; background weighs 1 - alpha.
        gamma: the larger, the less do easy examples count.
    """

    def __init__(self, *, alpha: float, gamma: float):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def construct(self, logits, labels, deltas, boxes):
        positive = ops.cast(labels >= 0, ms.float32)  # (N,A)
        counted = ops.cast(labels != IGNORED, ms.float32)  # (N,A)
        index = ops.expand_dims(ops.maximum(labels, 0), -1)  # (N,A,1)
        own = ops.squeeze(ops.gather_elements(logits, 2, index), -1)  # (N,A)
        as_background = self.background(logits).sum(-1)  # (N,A)
        as_object = self.alpha * ops.pow(ops.sigmoid(-own), self.gamma) * softplus(-own)
        return counted * as_background + positive * (as_object - self.background(own))

    def background(self, logits):
        """Loss of each logit as background; the logits' shape."""
        return (1 - self.alpha) * ops.pow(ops.sigmoid(logits), self.gamma) * softplus(logits)


def build_focal(cfg, coder: BoxCoder) -> nn.Cell:
    """The focal loss that the configuration asks for; it does not use the coder."""
    return FocalLoss(alpha=cfg.focal_alpha, gamma=cfg.focal_gamma)


CLASS_LOSSES = {"focal": build_focal}
