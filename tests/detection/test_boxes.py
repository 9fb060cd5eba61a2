import math

import numpy as np
import pytest

from src.detection.boxes import MAX_LOG_RATIO, area, clip, decode, encode, intersection, iou


def slow_iou(a, b) -> float:
    """IoU of two boxes in plain Python."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def random_boxes(rng, count):
    corners = rng.uniform(0, 100, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(2, 60, (count, 2))], axis=1)


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


def test_encode_literal_numbers():
    anchor = np.array([[10, 10, 30, 50]], float)  # centre (20, 30), sides 20 x 40
    box = np.array([[15, 26, 35, 46]], float)  # centre (25, 36), sides 20 x 20
    expected = [[5 / 20 / 0.1, 6 / 40 / 0.1, 0, math.log(0.5) / 0.2]]
    np.testing.assert_allclose(encode(box, anchor), expected)


def test_decode_undoes_encode():
    rng = np.random.default_rng(1)
    boxes, anchors = random_boxes(rng, 200), random_boxes(rng, 200)
    np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes, atol=1e-9)


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
