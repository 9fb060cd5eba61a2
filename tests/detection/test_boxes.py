import math

import numpy as np
import pytest

from src.detection.boxes import MAX_LOG_RATIO, area, clip, decode, intersection, iou
from tests.references import random_boxes, slow_encode, slow_iou


def test_area_counts_no_extra_pixel_and_no_negative_side():
    boxes = np.array([[0, 0, 10, 5], [2.5, 1, 3, 2], [5, 5, 4, 9]])
    assert area(boxes).tolist() == [50, 0.5, 0]


def test_iou_of_literal_boxes():
    a = np.array([[0, 0, 10, 10]], float)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]], float)
    assert iou(a, b)[0].tolist() == pytest.approx([1, 1 / 3, 0, 0.04])
    assert intersection(a, b)[0].tolist() == [100, 50, 0, 4]


def test_iou_equals_plain_python():
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 30), random_boxes(rng, 40)
    expected = [[slow_iou(x, y) for y in b] for x in a]
    np.testing.assert_allclose(iou(a, b), expected, rtol=1e-12)


def test_iou_of_nothing_and_of_points():
    assert iou(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    assert iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0]]


def test_decode_undoes_encode():
    rng = np.random.default_rng(1)
    boxes, anchors = random_boxes(rng, 200), random_boxes(rng, 200)
    deltas = np.array([slow_encode(box, anchor) for box, anchor in zip(boxes, anchors)])
    np.testing.assert_allclose(decode(deltas, anchors), boxes, atol=1e-9)


def test_decode_of_zero_is_the_default_box():
    anchors = random_boxes(np.random.default_rng(2), 5)
    np.testing.assert_allclose(decode(np.zeros((5, 4)), anchors), anchors)


def test_decode_caps_wild_size_deltas():
    anchor = np.array([[0, 0, 2, 2]], float)
    box = decode(np.array([[0, 0, 1e6, 1e6]]), anchor)[0]
    assert np.isfinite(box).all()
    assert box[2] - box[0] == pytest.approx(2 * math.exp(MAX_LOG_RATIO))


def test_clip_cuts_to_the_image():
    box = np.array([[-3, 4, 250, 90]], float)
    assert clip(box, width=200, height=80).tolist() == [[0, 4, 200, 80]]
