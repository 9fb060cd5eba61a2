"""Suppression against plain Python, on random boxes and on awkward ones."""

import math

import numpy as np
import pytest

from src.detection.nms import class_offset, nms, soft_nms
from tests.references import random_boxes, slow_iou, slow_nms


def slow_soft_nms(boxes, scores, labels, sigma, least):
    """Soft-NMS in plain Python: (index, score), best first."""
    left = dict(enumerate(scores.tolist()))
    kept = []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        if left[best] <= least:
            break
        score = left.pop(best)
        kept.append((best, score))
        for i in left:
            if labels[i] == labels[best]:
                left[i] *= math.exp(-(slow_iou(boxes[i], boxes[best]) ** 2) / sigma)
    return kept


@pytest.mark.parametrize("count", [0, 1, 2, 300])
@pytest.mark.parametrize("max_iou", [0.0, 0.3, 0.6, 1.0])
def test_equals_plain_python(count, max_iou):
    rng = np.random.default_rng(count)
    boxes, labels = random_boxes(rng, count).astype(np.float32), rng.integers(0, 4, count)
    kept = nms(class_offset(boxes, labels), max_iou)
    assert kept.tolist() == slow_nms(boxes.tolist(), labels, max_iou)


def test_boxes_on_a_grid_whose_ious_tie():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 6, (400, 2)) * 5
    boxes = np.concatenate([corners, corners + rng.integers(1, 4, (400, 2)) * 5], axis=1)
    labels = rng.integers(0, 80, 400) % 3
    for max_iou in (0.25, 1 / 3, 0.5, 0.6):
        kept = nms(class_offset(boxes.astype(np.float32), labels), max_iou)
        assert kept.tolist() == slow_nms(boxes.tolist(), labels, max_iou)


def test_identical_boxes_leave_one_of_each_class():
    boxes = np.tile(np.array([[5, 5, 50, 60]], np.float32), (200, 1))
    labels = np.arange(200) % 80
    assert nms(class_offset(boxes, labels), 0.6).tolist() == list(range(80))


def test_iou_that_equals_the_limit_stays_and_no_pixel_is_added():
    # IoU is exactly 0.6; with one pixel added to the sides it would be more
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 6.0]])
    assert nms(boxes, 0.6).tolist() == [0, 1]
    assert nms(boxes, 0.59).tolist() == [0]


def test_the_last_class_is_compared_as_exactly_as_the_first():
    boxes = np.array([[600.1, 600.3, 610.1, 610.3], [600.1, 600.3, 610.1, 606.3]], np.float32)
    exact = slow_iou(*boxes.astype(float).tolist())
    for label in (0, 79):
        moved = class_offset(boxes, np.full(2, label))
        assert nms(moved, exact - 1e-6).tolist() == [0]
        assert nms(moved, exact + 1e-6).tolist() == [0, 1]


def test_empty_boxes_suppress_nothing():
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10.0]])
    assert nms(boxes, 0.5).tolist() == [0, 1, 2]


def test_limit():
    boxes = np.array([[i * 20.0, 0, i * 20 + 10, 10] for i in range(5)])
    assert nms(boxes, 0.5, limit=3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_soft_equals_plain_python(sigma):
    rng = np.random.default_rng(3)
    boxes, labels = random_boxes(rng, 200), rng.integers(0, 3, 200)
    scores = np.sort(rng.random(200))[::-1]
    expected = slow_soft_nms(boxes.tolist(), scores, labels, sigma, 0.05)
    kept, lowered = soft_nms(class_offset(boxes, labels), scores, sigma=sigma, least=0.05)
    assert kept.tolist() == [index for index, _ in expected]
    np.testing.assert_allclose(lowered, [score for _, score in expected], rtol=1e-9)
    first, _ = soft_nms(class_offset(boxes, labels), scores, sigma=sigma, least=0.05, limit=7)
    assert first.tolist() == kept[:7].tolist()


def test_soft_lowers_the_score_of_a_copy_by_exp_of_minus_one_over_sigma():
    boxes = np.tile(np.array([[0, 0, 10, 10.0]]), (2, 1))
    kept, scores = soft_nms(boxes, np.array([0.9, 0.8]), sigma=0.5, least=0.05)
    assert kept.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([0.9, 0.8 * math.exp(-2)])
