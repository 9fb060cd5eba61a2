"""Detection losses over all anchors of a batch."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.assign import IGNORED
from src.detection.boxes import CENTRE_VARIANCE, SIZE_VARIANCE


def softplus(x):
    """log(1 + exp(x)) that neither overflows nor loses its gradient at large |x|."""
    positive = ops.relu(x)
    # x - 2 * positive is -|x|, but with the right slope at 0, where abs() has none
    return positive + ops.log1p(ops.exp(x - 2 * positive))


def focal_loss(logits, labels, *, alpha: float, gamma: float):
    """Sigmoid focal loss of each anchor, summed over the classes (Lin et al., 2017).

    Every logit is first priced as a background one; a box with an object then exchanges the price
    of its own class. So no (N,A,K) target is built, and the price is worked out once per logit.

    Args:
        logits: (N,A,K) float32.
        labels: (N,A) int32: 0..K-1, BACKGROUND, or IGNORED, which counts zero.
        alpha: weight of objects; background weighs 1 - alpha.
        gamma: power that plays down what is already certain.

    Returns:
        (N,A) float32.
    """
    positive = ops.cast(labels >= 0, ms.float32)  # (N,A)
    counted = ops.cast(labels != IGNORED, ms.float32)  # (N,A)
    index = ops.expand_dims(ops.maximum(labels, 0), -1)  # (N,A,1)
    own = ops.squeeze(ops.gather_elements(logits, 2, index), -1)  # (N,A)
    everywhere = background_price(logits, alpha, gamma).sum(-1)  # (N,A)
    as_object = alpha * ops.pow(ops.sigmoid(-own), gamma) * softplus(-own)
    exchange = positive * (as_object - background_price(own, alpha, gamma))
    return counted * everywhere + exchange


def background_price(logits, alpha: float, gamma: float):
    """Focal loss of each logit, were it a background one; the logits' shape."""
    return (1 - alpha) * ops.pow(ops.sigmoid(logits), gamma) * softplus(logits)


def smooth_l1(difference, *, beta: float):
    """Huber loss / beta of each difference: quadratic below beta, linear above (Girshick, 2015)."""
    distance = ops.abs(difference)
    return ops.select(distance < beta, 0.5 * distance * distance / beta, distance - 0.5 * beta)


def encode(boxes, anchor_centres, anchor_sides):
    """Deltas (N,A,4) of boxes (N,A,4), as `detection.boxes.encode`, inside the graph."""
    centres = (boxes[..., :2] + boxes[..., 2:]) * 0.5 - anchor_centres  # (N,A,2)
    sides = boxes[..., 2:] - boxes[..., :2]  # (N,A,2)
    return ops.concat(
        [
            centres / anchor_sides / CENTRE_VARIANCE,
            ops.log(sides / anchor_sides) / SIZE_VARIANCE,
        ],
        axis=-1,
    )


class DetectionLoss(nn.Cell):
    """Focal loss of the classes plus weighted smooth L1 of the box deltas, per object box.

    Smooth L1 is the mean over a box's four deltas. Both are summed over the batch and divided by
    max(1, number of anchors with an object).

    Args:
        anchors: (A,4).
        alpha, gamma: of the focal loss.
        beta: of smooth L1.
        box_weight: of the box loss in the total.
    """

    def __init__(
        self, anchors: np.ndarray, *, alpha: float, gamma: float, beta: float, box_weight: float
    ):
        super().__init__()
        self.anchor_centres = ms.Tensor((anchors[:, :2] + anchors[:, 2:]) / 2)
        self.anchor_sides = ms.Tensor(anchors[:, 2:] - anchors[:, :2])
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta
        self.box_weight = box_weight

    def construct(self, deltas, logits, assigned, boxes, labels):
        """Losses of a batch.

        Args:
            deltas: (N,A,4); logits: (N,A,K).
            assigned: (N,A) int32, an index into the image's boxes, BACKGROUND or IGNORED.
            boxes: (N,G,4) of positive area; labels: (N,G) int32.

        Returns:
            total, class loss, weighted box loss and the number of positives; float32 scalars.
        """
        positive = ops.cast(assigned >= 0, ms.float32)  # (N,A)
        positives = positive.sum()
        normaliser = ops.maximum(positives, 1.0)
        own = ops.maximum(assigned, 0)  # (N,A)
        own_labels = ops.select(assigned >= 0, ops.gather_elements(labels, 1, own), assigned)
        class_loss = focal_loss(logits, own_labels, alpha=self.alpha, gamma=self.gamma)
        index = ops.tile(ops.expand_dims(own, -1), (1, 1, 4))  # (N,A,4)
        targets = encode(
            ops.gather_elements(boxes, 1, index), self.anchor_centres, self.anchor_sides
        )
        box_loss = smooth_l1(deltas - targets, beta=self.beta).mean(-1) * positive  # (N,A)
        class_loss = class_loss.sum(-1).sum() / normaliser
        box_loss = self.box_weight * box_loss.sum(-1).sum() / normaliser
        return class_loss + box_loss, class_loss, box_loss, positives
