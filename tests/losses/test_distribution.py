"""The loss of distributions, and losses of the boxes that they expect."""

import math

import numpy as np

from src.detection.box_coder import BoxCoder, DistributionCoder
from src.losses.box_losses import GIoULoss
from src.losses.distribution_loss import DistributionFocalLoss
from tests.losses.slow_losses import slow_distribution_loss, slow_expected_box, slow_giou
from tests.losses.test_overlap import differences, tensor, value_and_gradient

BINS = 5
ANCHORS = np.array([[10, 10, 30, 40], [100, 50, 120, 80]], np.float32)  # sides 2.5 and 3.75 strides
STRIDES = np.array([8, 8])
CODER = DistributionCoder(np.array([[2.5, 3.75]]), bins=BINS)
GIOU = GIoULoss(BoxCoder(ANCHORS))


def make_loss(weight=1.0):
    return DistributionFocalLoss(CODER, ANCHORS, STRIDES, weight=weight)


def overlap_loss(logits, boxes):
    """The GIoU loss of the boxes that distributions expect."""
    return GIOU(CODER(logits), boxes)


def test_literal_numbers():
    # left 1 stride, top 0.25 strides, right 3.5 strides; the lower edge is beyond the last bin
    boxes = tensor([[[12, 23, 48, 99], [102, 65, 110, 65]]])
    certain = np.zeros((4, BINS))
    certain[[0, 1, 1, 2, 2, 3], [1, 0, 1, 3, 4, 4]] = 9.0
    logits = tensor([[certain.ravel(), np.zeros(4 * BINS)]])
    one = math.log(1 + 4 * math.exp(-9))  # all on the right bin
    two = math.log(2 + 3 * math.exp(-9))  # half on each of two
    expected = [[(one + two + two + one) / 4, math.log(BINS)]]
    np.testing.assert_allclose(make_loss()(logits, boxes).asnumpy(), expected, rtol=1e-4)
    halved = make_loss(0.5)(logits, boxes).asnumpy()
    np.testing.assert_allclose(halved, np.divide(expected, 2), rtol=1e-4)


def test_targets_stay_within_the_bins():
    boxes = tensor([[[25, -99, 28, 99], [110, 65, 110, 65]]])  # the first is right of its centre
    found = make_loss().targets(boxes).asnumpy()
    np.testing.assert_allclose(found, [[[0, 4, 1, 4], [0, 0, 0, 0]]])


def test_gradients_equal_differences():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 2, 4 * BINS))  # of two images with two anchors each
    centres = (ANCHORS[:, :2] + ANCHORS[:, 2:]) / 2
    low, high = (rng.uniform(1, 40, (2, 2, 2)) for _ in range(2))
    boxes = np.concatenate([centres - low, centres + high], axis=-1)
    of_bins = value_and_gradient(make_loss(), tensor(logits), tensor(boxes))[1]
    of_boxes = value_and_gradient(overlap_loss, tensor(logits), tensor(boxes))[1]
    for image, a in np.ndindex(2, 2):
        box, anchor = boxes[image, a].tolist(), ANCHORS[a].tolist()

        def slow_bins(point, box=box, anchor=anchor):
            return slow_distribution_loss(point, box, anchor, 8, BINS)

        def slow_overlap(point, box=box, anchor=anchor):
            return -slow_giou(slow_expected_box(point, anchor, 8, BINS), box)

        for found, slow in ((of_bins, slow_bins), (of_boxes, slow_overlap)):
            expected = differences(slow, logits[image, a].tolist())
            np.testing.assert_allclose(found[image, a], expected, rtol=3e-3, atol=1e-5)


def test_certain_distributions_have_finite_losses_and_gradients():
    # all sides at the centre, so that the box has no area; and a box as large as can be
    logits = np.full((2, 4, BINS), -1e4)
    logits[0, :, 0] = logits[1, :, -1] = 1e4
    logits, boxes = tensor(logits.reshape(1, 2, -1)), tensor(ANCHORS[None])
    for loss in (make_loss(), overlap_loss):
        value, gradient = value_and_gradient(loss, logits, boxes)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
