import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.config.keys import load_keys
from src.detection.assign import BACKGROUND, IGNORED
from src.detection.box_coder import BoxCoder
from src.detection.boxes import decode
from src.losses.box_losses import BOX_LOSSES, SmoothL1
from src.losses.class_losses import CLASS_LOSSES, FocalLoss, softplus
from src.losses.detection_loss import DetectionLoss
from tests.references import slow_encode


def tensor(values, dtype=ms.float32):
    return ms.Tensor(np.asarray(values), dtype)


def slow_focal(logit, is_object, alpha=0.25, gamma=2.0):
    """Focal loss of one logit from the paper: -alpha_t (1 - p_t)^gamma log(p_t)."""
    p = 1 / (1 + math.exp(-logit))
    p_t, alpha_t = (p, alpha) if is_object else (1 - p, 1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * math.log(p_t)


def focal_loss(logits, labels):
    """The loss (N,A), which does not depend on deltas and boxes."""
    return FocalLoss(alpha=0.25, gamma=2.0)(logits, labels, None, None)


def focal_sum(logits, labels):
    """The loss as one number, for gradients."""
    return focal_loss(logits, labels).sum()


def slow_losses(deltas, logits, assigned, boxes, labels, anchors, beta, box_weight):
    """The whole loss in plain Python."""
    class_sum = box_sum = 0.0
    positives = 0
    for n, row in enumerate(assigned):
        for a, target in enumerate(row):
            if target == IGNORED:
                continue
            for k, logit in enumerate(logits[n][a]):
                class_sum += slow_focal(float(logit), target >= 0 and labels[n][target] == k)
            if target >= 0:
                positives += 1
                wanted = slow_encode(boxes[n][target].tolist(), anchors[a].tolist())
                for found, want in zip(deltas[n][a], wanted):
                    d = abs(float(found) - float(want))
                    box_sum += (0.5 * d * d / beta if d < beta else d - 0.5 * beta) / 4
    scale = max(1, positives)
    return class_sum / scale, box_weight * box_sum / scale, positives


def batch(seed, assigned):
    rng = np.random.default_rng(seed)
    assigned = np.array(assigned, np.int32)
    n, a = assigned.shape
    corners = rng.uniform(0, 20, (a, 2))
    anchors = np.concatenate([corners, corners + rng.uniform(5, 30, (a, 2))], axis=1)
    corners = rng.uniform(0, 20, (n, 3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 30, (n, 3, 2))], axis=2)
    return (
        anchors.astype(np.float32),
        rng.normal(0, 1, (n, a, 4)).astype(np.float32),
        rng.normal(0, 2, (n, a, 4)).astype(np.float32),
        assigned,
        boxes.astype(np.float32),
        rng.integers(0, 4, (n, 3)).astype(np.int32),
    )


def test_equals_plain_python():
    anchors, *_ = batch(0, [[IGNORED] * 6] * 2)
    box_losses = {"box_loss": SmoothL1(BoxCoder(anchors), beta=0.5)}
    loss = DetectionLoss(FocalLoss(alpha=0.25, gamma=2.0), box_losses, box_weight=3.0)
    assert loss.term_names == ("class_loss", "box_loss")
    for assigned in (
        [[0, BACKGROUND, IGNORED, 2, BACKGROUND, 1], [IGNORED, 1, 1, BACKGROUND, 0, 0]],
        [[BACKGROUND] * 6, [BACKGROUND] * 5 + [IGNORED]],  # no positives
        [[IGNORED] * 6, [IGNORED] * 6],
    ):
        anchors, *arrays = batch(0, assigned)
        total, class_loss, box_loss, positives = map(float, loss(*map(ms.Tensor, arrays)))
        expected = slow_losses(*arrays, anchors, 0.5, 3.0)
        assert (class_loss, box_loss, positives) == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert total == pytest.approx(class_loss + box_loss)


class Distance(nn.Cell):
    """A box loss, of the distance of one edge in pixels."""

    def __init__(self, coder, edge):
        super().__init__()
        self.coder, self.edge = coder, edge

    def construct(self, deltas, boxes):
        return ops.abs(self.coder.decode(deltas) - boxes)[..., self.edge]


class Quality(nn.Cell):
    """A class loss whose target depends on the predicted box, without a gradient in it."""

    def __init__(self, coder):
        super().__init__()
        self.coder = coder

    def construct(self, logits, labels, deltas, boxes):
        width = ops.stop_gradient(self.coder.decode(deltas)[..., 2] - boxes[..., 0])  # (N,A)
        return ops.cast(labels >= 0, ms.float32) * width * logits.sum(-1)


def test_other_losses_with_any_number_of_terms():
    assigned = [[0, BACKGROUND, IGNORED, 2, BACKGROUND, 1], [IGNORED, 1, 1, BACKGROUND, 0, 0]]
    anchors, deltas, logits, assigned, boxes, labels = batch(1, assigned)
    coder = BoxCoder(anchors)
    box_losses = {"left_loss": Distance(coder, 0), "bottom_loss": Distance(coder, 3)}
    loss = DetectionLoss(Quality(coder), box_losses, box_weight=2.0)
    assert loss.term_names == ("class_loss", "left_loss", "bottom_loss")
    inputs = tuple(map(ms.Tensor, (deltas, logits, assigned, boxes, labels)))
    total, *terms, positives = (float(value) for value in loss(*inputs))
    decoded = decode(deltas, anchors)
    sums = np.zeros(3)
    for n, a in np.argwhere(assigned >= 0):
        box = boxes[n, assigned[n, a]]
        sums[0] += (decoded[n, a, 2] - box[0]) * logits[n, a].sum()
        sums[1:] += 2 * np.abs(decoded[n, a] - box)[[0, 3]]
    assert positives == 7
    assert terms == pytest.approx(sums / 7, rel=1e-4)
    assert total == pytest.approx(sum(terms), rel=1e-5)

    def class_loss_of(deltas, *others):
        return loss(deltas, *others)[1]

    assert not ops.grad(class_loss_of)(*inputs).asnumpy().any()


def test_focal_loss_literal_numbers():
    # p = 1/2: object 0.25 * 1/4 * ln 2, background 0.75 * 1/4 * ln 2
    logits = tensor(np.zeros((1, 3, 1)))
    found = focal_loss(logits, tensor([[0, -1, -2]], ms.int32))
    log2 = math.log(2)
    np.testing.assert_allclose(found.asnumpy(), [[log2 / 16, 3 * log2 / 16, 0]], rtol=1e-6)


def test_focal_loss_and_gradient_are_finite_at_extreme_logits():
    logits = tensor(np.tile([[80.0], [-80.0], [30.0], [-30.0], [0.0]], (2, 1, 1)))
    labels = tensor(np.repeat([[0], [BACKGROUND]], 5, axis=1), ms.int32)
    loss = focal_loss(logits, labels).asnumpy()
    gradient = ops.grad(focal_sum)(logits, labels)
    assert np.isfinite(loss).all()
    assert np.isfinite(gradient.asnumpy()).all()
    assert loss.max(axis=1) == pytest.approx([0.25 * 80, 0.75 * 80])


def test_focal_gradient_equals_differences():
    values = np.array([-6.0, -1.5, -0.2, 0.0, 0.7, 2.0, 7.0])
    labels = np.repeat([[0], [BACKGROUND]], len(values), axis=1)
    logits = np.tile(values[:, None], (2, 1, 1))
    gradient = ops.grad(focal_sum)(tensor(logits), tensor(labels, ms.int32)).asnumpy()
    step = 1e-5
    for row, is_object in zip(gradient[..., 0], (True, False)):
        expected = [
            (slow_focal(v + step, is_object) - slow_focal(v - step, is_object)) / (2 * step)
            for v in values
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-6)


def test_smooth_l1_literal_numbers():
    anchors = np.tile(np.array([0, 0, 10, 10], np.float32), (5, 1))
    deltas = np.tile(np.array([[0.0], [0.5], [-1.0], [3.0], [-2.0]]), 4)  # the objects' own are 0
    found = SmoothL1(BoxCoder(anchors), beta=1.0)(tensor(deltas), ms.Tensor(anchors))
    np.testing.assert_allclose(found.asnumpy(), [0, 0.125, 0.5, 2.5, 1.5])


def test_softplus_far_out():
    found = softplus(tensor([-100.0, 0.0, 100.0])).asnumpy()
    np.testing.assert_allclose(found, [0, math.log(2), 100], atol=1e-30, rtol=1e-6)


def test_the_configuration_names_every_loss():
    keys = load_keys()
    assert keys["class_loss"].spec == f"one of {', '.join(CLASS_LOSSES)}"
    assert keys["box_loss"].spec == f"one of {', '.join(BOX_LOSSES)}"
