"""The loss of a detector over all anchors of a batch."""

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from src.detection.anchors import build_anchors
from src.detection.box_coder import BoxCoder, build_distribution
from src.losses.box_losses import BOX_LOSSES
from src.losses.class_losses import CLASS_LOSSES
from src.losses.distribution_loss import DistributionFocalLoss

# fields of a record that a box loss cannot name its terms after
TAKEN_NAMES = (
    "loss", "class_loss", "distribution_loss", "positives", "gradient_norm", "loss_scale",
)  # fmt: skip


class DetectionLoss(nn.Cell):
    """The sum of a class loss, the weighted terms of a box loss, and a loss of distributions.

    Each term is summed over the batch and divided by max(1, number of anchors with an object).
    `term_names` are the names of the terms in logs, curves and records.

    Args:
        class_loss: see `losses.class_losses`.
        box_losses: terms of a box loss by name, see `losses.box_losses`.
        box_weight: of each of them in the total.
        distribution_loss: for a network that predicts distributions, which become deltas first.
    """

    def __init__(
        self,
        class_loss: nn.Cell,
        box_losses: dict[str, nn.Cell],
        *,
        box_weight: float,
        distribution_loss: DistributionFocalLoss | None = None,
    ):
        super().__init__()
        if taken := sorted(set(box_losses) & set(TAKEN_NAMES)):
            raise ValueError(f"terms of the box loss have the names {taken}, which are taken")
        self.class_loss = class_loss
        self.box_losses = nn.CellList(list(box_losses.values()))
        self.box_weight = box_weight
        self.distribution_loss = distribution_loss
        self.term_names = ("class_loss", *box_losses)
        if distribution_loss is not None:
            self.term_names += ("distribution_loss",)

    def construct(self, predicted, logits, assigned, boxes, labels):
        """Total, a scalar for each of `term_names`, and the number of positives; all float32.

        The arguments are those of `by_image`.
        """
        sums = self.by_image(predicted, logits, assigned, boxes, labels)
        positives = sums[-1].sum()
        normaliser = ops.maximum(positives, 1.0)
        terms = ()
        for own in sums[:-1]:
            terms = (*terms, own.sum() / normaliser)
        return (ops.addn(terms), *terms, positives)

    def by_image(self, predicted, logits, assigned, boxes, labels):
        """Sums of each term over an image's anchors, and its positives; each (N,) float32.

        Args:
            predicted: deltas (N,A,4), or distributions (N,A,4 * bins); logits: (N,A,K).
            assigned: (N,A) int32, an index into the image's boxes, BACKGROUND or IGNORED.
            boxes: (N,G,4) in pixels, of positive area; labels: (N,G) int32.
        """
        positive = ops.cast(assigned >= 0, ms.float32)  # (N,A)
        own = ops.maximum(assigned, 0)  # (N,A)
        own_labels = ops.select(assigned >= 0, ops.gather_elements(labels, 1, own), assigned)
        index = ops.tile(ops.expand_dims(own, -1), (1, 1, 4))  # (N,A,4)
        own_boxes = ops.gather_elements(boxes, 1, index)
        deltas = predicted
        if self.distribution_loss is not None:
            deltas = self.distribution_loss.coder(predicted)  # (N,A,4)
        class_loss = self.class_loss(logits, own_labels, deltas, own_boxes)  # (N,A)
        sums = (class_loss.sum(-1),)
        for box_loss in self.box_losses:
            term = box_loss(deltas, own_boxes) * positive  # (N,A)
            sums = (*sums, self.box_weight * term.sum(-1))
        if self.distribution_loss is not None:
            term = self.distribution_loss(predicted, own_boxes) * positive  # (N,A)
            sums = (*sums, term.sum(-1))
        return (*sums, positive.sum(-1))


def build_loss(cfg) -> DetectionLoss:
    """The loss that the configuration asks for."""
    generator = build_anchors(cfg)
    levels = generator.levels(cfg.image_size)
    anchors = np.concatenate(levels)  # (A,4)
    coder, distribution, distribution_loss = BoxCoder(anchors), build_distribution(cfg), None
    if distribution is not None:
        strides = np.repeat(generator.strides, [len(level) for level in levels])  # (A,)
        distribution_loss = DistributionFocalLoss(
            distribution, anchors, strides, weight=cfg.distribution_weight
        )
    return DetectionLoss(
        CLASS_LOSSES[cfg.class_loss](cfg, coder),
        BOX_LOSSES[cfg.box_loss](cfg, coder),
        box_weight=cfg.box_weight,
        distribution_loss=distribution_loss,
    )
