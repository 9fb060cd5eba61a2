"""Losses of the classes, by their names in the configuration.

A class loss is a cell on

    logits (N,A,K); labels (N,A): 0..K-1, BACKGROUND or IGNORED;
    deltas (N,A,4): predicted, for targets that depend on the predicted boxes;
    boxes (N,A,4): each anchor's own object, or any box where it has none

that returns (N,A) float32, 0 where an anchor is ignored. To add a loss, write the cell, enter a
function that builds it in CLASS_LOSSES, and name it at `class_loss` in config/default.yaml.
"""

import mindspore as ms
from mindspore import nn, ops

from src.detection.assign import IGNORED
from src.detection.box_coder import BoxCoder
from src.losses.overlap import iou


def softplus(x):
    """log(1 + exp(x)) that neither overflows nor loses its gradient at large |x|."""
    positive = ops.relu(x)
    # x - 2 * positive is -|x|, but with the right slope at 0, where abs() has none
    return positive + ops.log1p(ops.exp(x - 2 * positive))


class SwappedLoss(nn.Cell):
    """A loss of each logit, summed over the classes, that differs for an object's own class.

    All logits are first taken as background; an anchor with an object then swaps the loss of its
    own class. So no (N,A,K) target is built, and the loss of a logit is computed once.

    A subclass has two methods. `background(logits)` is the loss of each logit as background, of
    the logits' shape. `as_object(own, deltas, boxes)` is the loss (N,A) of the logits (N,A) of the
    objects' classes.
    """

    def construct(self, logits, labels, deltas, boxes):
        positive = ops.cast(labels >= 0, ms.float32)  # (N,A)
        counted = ops.cast(labels != IGNORED, ms.float32)  # (N,A)
        index = ops.expand_dims(ops.maximum(labels, 0), -1)  # (N,A,1)
        own = ops.squeeze(ops.gather_elements(logits, 2, index), -1)  # (N,A)
        as_background = self.background(logits).sum(-1)  # (N,A)
        as_object = self.as_object(own, deltas, boxes)
        return counted * as_background + positive * (as_object - self.background(own))


class FocalLoss(SwappedLoss):
    """Sigmoid focal loss (Lin et al., 2017).

    Args:
        alpha: weight of objects; background weighs 1 - alpha.
        gamma: the larger, the less easy examples count.
    """

    def __init__(self, *, alpha: float, gamma: float):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def as_object(self, own, deltas, boxes):
        return self.alpha * ops.pow(ops.sigmoid(-own), self.gamma) * softplus(-own)

    def background(self, logits):
        return (1 - self.alpha) * ops.pow(ops.sigmoid(logits), self.gamma) * softplus(logits)


class QualityFocalLoss(SwappedLoss):
    """Quality focal loss (Li et al., 2020): the score learns the predicted box's IoU.

    |target - score|^beta x cross-entropy. The target of an object's class is the IoU of the decoded
    box with the object, without a gradient; that of all other logits is 0.

    Args:
        beta: the larger, the less scores near their target count; 1 or more.
    """

    def __init__(self, coder: BoxCoder, *, beta: float):
        super().__init__()
        self.coder, self.beta = coder, beta

    def as_object(self, own, deltas, boxes):
        target = quality(self.coder, deltas, boxes)
        scale = ops.pow(ops.abs(target - ops.sigmoid(own)), self.beta)
        return scale * (softplus(own) - target * own)

    def background(self, logits):
        return ops.pow(ops.sigmoid(logits), self.beta) * softplus(logits)


class VarifocalLoss(FocalLoss):
    """Varifocal loss (Zhang et al., 2021): the score learns the IoU, and good boxes weigh more.

    The target is that of the quality focal loss; it also weights the cross-entropy of an object's
    class. All other logits have the focal loss of background, and so has an object's class if the
    decoded box and the object do not overlap.

    Args:
        alpha: background weighs 1 - alpha, as in the focal loss; the paper's alpha is this weight.
        gamma: the larger, the less easy background counts.
    """

    def __init__(self, coder: BoxCoder, *, alpha: float, gamma: float):
        super().__init__(alpha=alpha, gamma=gamma)
        self.coder = coder

    def as_object(self, own, deltas, boxes):
        target = quality(self.coder, deltas, boxes)
        weighted = target * (softplus(own) - target * own)
        return ops.select(target > 0, weighted, self.background(own))


def quality(coder: BoxCoder, deltas, boxes):
    """IoU (N,A) of decoded boxes with their objects (N,A,4), without a gradient."""
    return ops.stop_gradient(iou(coder.decode(deltas), boxes))


# builders by the names in the configuration; each takes it and the coder of the boxes
CLASS_LOSSES = {
    "focal": lambda cfg, coder: FocalLoss(alpha=cfg.focal_alpha, gamma=cfg.focal_gamma),
    "quality": lambda cfg, coder: QualityFocalLoss(coder, beta=cfg.quality_beta),
    "varifocal": lambda cfg, coder: VarifocalLoss(
        coder, alpha=cfg.focal_alpha, gamma=cfg.focal_gamma
    ),
}
