"""Overlaps of pairs of boxes and the losses made of them, values and gradients."""

import mindspore as ms
import numpy as np
import pytest

from src.detection.box_coder import BoxCoder
from src.losses.box_losses import L1, CIoULoss, GIoULoss
from src.losses.class_losses import QualityFocalLoss, VarifocalLoss
from src.losses.overlap import ciou, giou, iou
from tests.losses.slow_losses import (
    aspect_weight,
    slow_box_loss,
    slow_ciou,
    slow_class_loss,
    slow_decode,
    slow_giou,
)
from tests.references import random_boxes, slow_iou

PAIRS = {
    "equal": ([10, 10, 30, 40], [10, 10, 30, 40]),
    "apart": ([0, 0, 10, 10], [50, 60, 70, 90]),
    "far apart": ([0, 0, 10, 10], [1e6, 1e6, 1e6 + 8, 1e6 + 8]),
    "inside": ([12, 14, 20, 22], [10, 10, 30, 40]),
    "around": ([0, 0, 50, 50], [10, 10, 30, 40]),
    "a corner touches": ([0, 0, 10, 10], [10, 10, 20, 20]),
    "no width": ([15, 10, 15, 40], [10, 10, 30, 40]),
    "a point": ([15, 15, 15, 15], [10, 10, 30, 40]),
    "equal points": ([15, 15, 15, 15], [15, 15, 15, 15]),
    "an object without area": ([10, 10, 30, 40], [15, 15, 15, 15]),
    "huge": ([-1e5, -1e5, 1e5, 1e5], [10, 10, 30, 40]),
    "tiny": ([10, 10, 10.001, 10.001], [10, 10, 10.002, 10.001]),
}


def tensor(values):
    return ms.Tensor(np.asarray(values, np.float32))


def random_pairs(seed, count=60):
    rng = np.random.default_rng(seed)
    one, other = random_boxes(rng, count), random_boxes(rng, count)
    other[::3] = one[::3] + rng.normal(0, 3, one[::3].shape)  # many that overlap well
    other[:, 2:] = np.maximum(other[:, 2:], other[:, :2] + 1)
    return one.astype(np.float32), other.astype(np.float32)


@pytest.mark.parametrize("fast, slow", [(iou, slow_iou), (giou, slow_giou), (ciou, slow_ciou)])
def test_equals_plain_python(fast, slow):
    for seed in range(3):
        one, other = random_pairs(seed)
        found = fast(tensor(one[None]), tensor(other[None])).asnumpy()[0]
        expected = [slow(*pair) for pair in zip(one.tolist(), other.tolist())]
        assert 0 < sum(slow_iou(*pair) > 0 for pair in zip(one, other)) < len(one)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("equal", (1, 1, 1)),
        # hull 70 x 90 of which 700 are covered
        ("apart", (0, -(6300 - 700) / 6300, None)),
        ("inside", (64 / 600, 64 / 600, None)),
        ("around", (600 / 2500, 600 / 2500, None)),
        ("a corner touches", (0, -0.5, -0.25)),
        ("no width", (0, 0, None)),
        ("equal points", (0, 0, 0)),
    ],
)
def test_literal_numbers(name, expected):
    one, other = (tensor([[box]]) for box in PAIRS[name])
    found = [float(measure(one, other)[0, 0]) for measure in (iou, giou, ciou)]
    wanted = [f if e is None else e for f, e in zip(found, expected)]
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("measure", [iou, giou, ciou])
def test_values_and_gradients_are_finite(measure):
    one, other = (tensor([boxes]) for boxes in zip(*PAIRS.values()))
    values, gradients = measure(one, other).asnumpy()[0], value_and_gradient(measure, one, other)[1]
    fine = (values >= -2) & (values <= 1) & np.isfinite(gradients[0]).all(axis=1)
    assert dict(zip(PAIRS, fine)) == dict.fromkeys(PAIRS, True)


def drawn_deltas(seed, count=40):
    """Anchors, objects and deltas: near their object, anywhere, and far off in size."""
    rng = np.random.default_rng(seed)
    anchors, boxes = random_pairs(seed, count)
    coder = BoxCoder(anchors)
    deltas = coder.encode(tensor(boxes[None])).asnumpy()[0] + rng.normal(0, 0.5, (count, 4))
    deltas[::4] = rng.normal(0, 4, deltas[::4].shape)
    return coder, anchors.astype(float), boxes.astype(float), deltas


def value_and_gradient(loss, point, *others):
    """The sum of a cell's or function's output, and its gradient in the first argument."""

    def total(point):
        return loss(point, *others).sum()

    value, gradient = ms.value_and_grad(total)(point)
    return float(value), gradient.asnumpy()


def differences(function, point, step=1e-6):
    """Central differences of a function of a list."""
    found = []
    for i in range(len(point)):
        up, down = list(point), list(point)
        up[i] += step
        down[i] -= step
        found.append((function(up) - function(down)) / (2 * step))
    return found


@pytest.mark.parametrize(
    "cell, slow",
    [
        (L1, lambda d, b, a, _: slow_box_loss("l1", d, b, a)),
        (GIoULoss, lambda d, b, a, _: slow_box_loss("giou", d, b, a)),
        (CIoULoss, lambda d, b, a, weight: 1 - slow_ciou(slow_decode(d, a), b, weight)),
    ],
)
def test_gradients_equal_differences(cell, slow):
    coder, anchors, boxes, deltas = drawn_deltas(0)
    _, found = value_and_gradient(cell(coder), tensor(deltas[None]), tensor(boxes[None]))
    for row, delta, box, anchor in zip(found[0], deltas.tolist(), boxes, anchors):
        weight = aspect_weight(slow_decode(delta, anchor), box)
        expected = differences(lambda d: slow(d, box, anchor, weight), delta)  # noqa: B023
        np.testing.assert_allclose(row, expected, rtol=3e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name, make",
    [
        ("quality", lambda coder: QualityFocalLoss(coder, beta=2.0)),
        ("varifocal", lambda coder: VarifocalLoss(coder, alpha=0.25, gamma=2.0)),
    ],
)
def test_class_gradients_equal_differences(name, make):
    coder, anchors, boxes, deltas = drawn_deltas(4)
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(0, 3, (len(boxes), 2)), rng.integers(-1, 2, len(boxes))
    others = ms.Tensor(labels[None].astype(np.int32)), tensor(deltas[None]), tensor(boxes[None])
    (found,) = value_and_gradient(make(coder), tensor(logits[None]), *others)[1]
    for a, label in enumerate(labels):
        target = slow_iou(slow_decode(deltas[a], anchors[a]), boxes[a])
        for k in range(2):
            own = {"target": target, "is_object": True}
            keys = own if label == k else {"target": 0.0, "is_object": False}
            (expected,) = differences(
                lambda x: slow_class_loss(name, x[0], **keys),  # noqa: B023
                [logits[a, k]],
            )
            np.testing.assert_allclose(found[a, k], expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("cell", [GIoULoss, CIoULoss])
def test_boxes_that_shrink_to_nothing_or_outgrow_all_have_finite_gradients(cell):
    anchors = np.tile(np.array([[10, 10, 30, 40]], np.float32), (4, 1))
    deltas = np.array([[0, 0, -900, -900], [0, 0, 900, 900], [1e7, -1e7, 0, 0], [0, 0, -900, 0]])
    loss, objects = cell(BoxCoder(anchors)), tensor(anchors[None])
    value, gradient = value_and_gradient(loss, tensor(deltas[None]), objects)
    assert 0 < value < 12
    assert np.isfinite(gradient).all()


def test_class_losses_are_finite_at_extreme_logits():
    logits = np.repeat([-90.0, -20.0, 0.0, 20.0, 90.0], 3)
    anchors = np.tile(np.array([[10, 10, 30, 40]], np.float32), (len(logits), 1))
    objects = anchors + np.tile([[0], [5], [99]], (5, 1))  # equal, overlapping and apart
    others = ms.Tensor(np.zeros((1, 15), np.int32)), tensor(np.zeros((1, 15, 4))), tensor([objects])
    coder = BoxCoder(anchors)
    for loss in (
        QualityFocalLoss(coder, beta=1.0),
        QualityFocalLoss(coder, beta=2.0),
        VarifocalLoss(coder, alpha=0.25, gamma=2.0),
    ):
        value, gradient = value_and_gradient(loss, tensor(logits[None, :, None]), *others)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
