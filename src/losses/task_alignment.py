"""Which anchor learns which object, decided by the predictions, inside MindSpore's graphs."""

import mindspore as ms
from mindspore import nn, ops

from src.detection.assign import BACKGROUND, MIN_INSIDE
from src.detection.box_coder import BoxCoder
from src.losses.overlap import iou

LAST_RESORT = 2.0  # claim of an object that would else have no anchor; above every IoU
NO_CLAIM = -1.0
SMALLEST = 1e-30  # alignment; keeps a divisor above 0


class TaskAlignment(nn.Cell):
    """Task alignment learning (TOOD, Feng et al., 2021): anchors are chosen by their predictions.

    The alignment of an anchor with an object is score^alpha x IoU^beta, of its score for the
    object's class and its decoded box. Candidates of an object are the `candidates` anchors of
    highest alignment whose centres are inside it, and those equal to the last of them. An anchor
    that several objects claim learns the one of highest IoU (the first of equals). An object left
    without takes the anchor that `CentreAssigner` gave it.

    Nothing here has a gradient. Memory: a dozen tensors (N,G,A), none kept for the backward pass.

    Args:
        coder: of the anchors.
    """

    def __init__(self, coder: BoxCoder, *, candidates: int, alpha: float, beta: float):
        super().__init__()
        self.coder = coder
        self.candidates = min(candidates, len(coder.centres))
        self.alpha, self.beta = alpha, beta

    def construct(self, logits, deltas, assigned, boxes, labels):
        """The anchors' objects, and how well each anchor should score.

        Args:
            logits: (N,A,K); deltas: (N,A,4).
            assigned: (N,A) int32, from `CentreAssigner`; rows of `boxes` that it gives no anchor,
                crowds and padding, are no objects.
            boxes: (N,G,4); labels: (N,G) int32.

        Returns:
            assigned: (N,A) int32, a row of `boxes`, BACKGROUND or IGNORED.
            target: (N,A), of the score of the object's class: its alignment, scaled so that the
                object's best anchor has the highest IoU among the object's anchors; 0 elsewhere.
            weight: (N,A), of the box losses: the target, or 1 where the anchor is a last resort.
        """
        rows = ops.arange(boxes.shape[1]).astype(ms.int32).reshape(1, -1, 1)  # (1,G,1)
        offered = assigned.expand_dims(1) == rows  # (N,G,A)
        decoded = ops.stop_gradient(self.coder.decode(deltas))
        overlap = iou(decoded.expand_dims(1), boxes.expand_dims(2))  # (N,G,A)
        alignment = self.align(ops.stop_gradient(logits), overlap, labels)
        is_candidate = ops.logical_and(self.is_inside(boxes), exists(offered, 2))
        alignment = ops.where(is_candidate, alignment, 0.0)
        best, _ = ops.topk(alignment, self.candidates)  # (N,G,candidates)
        is_candidate = ops.logical_and(alignment > 0, alignment >= best[..., -1:])
        claims = ops.where(is_candidate, overlap, NO_CLAIM)
        mine = settle(claims, rows)
        last_resort = ops.logical_and(offered, ops.logical_not(exists(mine, 2)))
        mine = settle(ops.where(last_resort, LAST_RESORT, claims), rows)  # (N,G,A)
        alignment = ops.where(last_resort, 1.0, alignment)
        highest = ops.amax(ops.where(mine, overlap, 0.0), 2, True)  # (N,G,1)
        scale = highest / ops.maximum(ops.amax(ops.where(mine, alignment, 0.0), 2, True), SMALLEST)
        target = ops.where(mine, alignment * scale, 0.0).sum(1)  # (N,A)
        own = ops.where(mine, rows.astype(ms.float32), float(BACKGROUND))
        own = ops.amax(own, 1).astype(ms.int32)  # (N,A)
        weight = ops.maximum(target, ops.amax(last_resort.astype(ms.float32), 1))
        return ops.where(own >= 0, own, ops.minimum(assigned, BACKGROUND)), target, weight

    def align(self, logits, overlap, labels):
        """Alignment (N,G,A) of the anchors with each object."""
        index = ops.tile(labels.expand_dims(2), (1, 1, logits.shape[1]))  # (N,G,A)
        of_classes = logits.astype(ms.float32).transpose(0, 2, 1)  # (N,K,A)
        scores = ops.sigmoid(ops.gather_elements(of_classes, 1, index))
        return ops.pow(scores, self.alpha) * ops.pow(overlap, self.beta)

    def is_inside(self, boxes):
        """Whether the anchors' centres are inside the boxes, (N,G,A)."""
        x, y = self.coder.centres[:, 0], self.coder.centres[:, 1]  # (A,)
        before = ops.minimum(x - boxes[..., 0:1], y - boxes[..., 1:2])  # (N,G,A)
        behind = ops.minimum(boxes[..., 2:3] - x, boxes[..., 3:4] - y)
        return ops.minimum(before, behind) > MIN_INSIDE


def settle(claims, rows):
    """Gives each anchor to the object that claims it most, the first of equals: (N,G,A) bool.

    Args:
        claims: (N,G,A), below 0 where an object does not claim an anchor.
        rows: (1,G,1) int32, 0..G-1.
    """
    strongest = ops.logical_and(claims >= 0, claims == ops.amax(claims, 1, True))
    rows = rows.astype(ms.float32)
    first = ops.amin(ops.where(strongest, rows, float(claims.shape[1])), 1, True)  # (N,1,A)
    return ops.logical_and(strongest, rows == first)


def exists(found, axis: int):
    """Whether one along the axis is true; the axis stays, with length 1."""
    return ops.amax(found.astype(ms.float32), axis, True) > 0


def build_alignment(cfg, coder: BoxCoder) -> TaskAlignment | None:
    """The assignment in the graph; None if the workers' one is final."""
    if cfg.assigner != "task_aligned":
        return None
    return TaskAlignment(
        coder,
        candidates=cfg.task_aligned_candidates,
        alpha=cfg.task_aligned_alpha,
        beta=cfg.task_aligned_beta,
    )
