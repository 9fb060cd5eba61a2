import numpy as np
import pytest

from src.detection.boxes import encode
from src.detection.postprocess import Postprocessor, class_nms
from tests.references import random_boxes, slow_iou


def slow_nms(boxes, labels, max_iou):
    """Greedy suppression in plain Python; boxes are sorted by score."""
    kept = []
    for index, box in enumerate(boxes):
        if all(labels[k] != labels[index] or slow_iou(boxes[k], box) <= max_iou for k in kept):
            kept.append(index)
    return kept


def slow_detect(deltas, logits, anchors, threshold, max_iou, limit):
    """Scores, boxes and suppression in plain Python for one image of 100 x 100."""
    rows = []
    for a, row in enumerate(logits):
        for k, value in enumerate(row):
            score = 1 / (1 + np.exp(-float(value)))
            if score > threshold:
                rows.append((score, a, k))
    rows.sort(key=lambda r: -r[0])
    boxes = []
    for _, a, _ in rows:
        x1, y1, x2, y2 = anchors[a]
        dx, dy, dw, dh = (float(v) for v in deltas[a])
        cx = (x1 + x2) / 2 + dx * 0.1 * (x2 - x1)
        cy = (y1 + y2) / 2 + dy * 0.1 * (y2 - y1)
        w, h = (x2 - x1) * np.exp(dw * 0.2), (y2 - y1) * np.exp(dh * 0.2)
        box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        boxes.append(tuple(min(max(v, 0), 100) for v in box))
    visible = [b[2] > b[0] and b[3] > b[1] for b in boxes]
    rows = [row for row, seen in zip(rows, visible) if seen]
    boxes = [box for box, seen in zip(boxes, visible) if seen]
    kept = slow_nms(boxes, [k for _, _, k in rows], max_iou)[:limit]
    return [(boxes[i], rows[i][0], rows[i][2]) for i in kept]


def make(anchors, **changes):
    options = {
        "image_size": (100, 100),
        "score_threshold": 0.05,
        "nms_iou": 0.6,
        "candidates": 1000,
        "max_detections": 100,
    }
    return Postprocessor(anchors, **{**options, **changes})


@pytest.mark.parametrize("seed", range(4))
def test_equals_plain_python(seed):
    rng = np.random.default_rng(seed)
    anchors = random_boxes(rng, 120)
    deltas = rng.normal(0, 0.5, (120, 4))
    logits = rng.normal(-2, 2, (120, 3))
    found = make(anchors, max_detections=50)(deltas, logits)
    expected = slow_detect(deltas, logits, anchors, 0.05, 0.6, 50)
    assert len(found.scores) == len(expected)
    np.testing.assert_allclose(found.boxes, [e[0] for e in expected], atol=1e-9)
    np.testing.assert_allclose(found.scores, [e[1] for e in expected])
    assert found.labels.tolist() == [e[2] for e in expected]


def test_nothing_above_the_threshold():
    found = make(np.array([[0, 0, 10, 10.0]]))(np.zeros((1, 4)), np.full((1, 3), -20.0))
    assert found.boxes.shape == (0, 4)
    assert len(found.scores) == len(found.labels) == 0


def test_a_perfect_prediction_comes_back():
    anchors = np.array([[10, 10, 40, 50], [60, 60, 90, 90.0]])
    box = np.array([[15, 12, 48, 44.0]])
    deltas = np.concatenate([encode(box, anchors[:1]), np.zeros((1, 4))])
    logits = np.array([[-9.0, 5.0], [-9.0, -9.0]])
    found = make(anchors)(deltas, logits)
    np.testing.assert_allclose(found.boxes, box)
    assert found.labels.tolist() == [1]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-5)))


def test_nms_adds_no_pixel():
    # IoU is exactly 0.6; with one pixel added to the sides it would be more
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 6.0]])
    assert class_nms(boxes, np.zeros(2), 0.6).tolist() == [0, 1]
    assert class_nms(boxes, np.zeros(2), 0.59).tolist() == [0]


def test_classes_do_not_suppress_each_other():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10.0]])
    assert class_nms(boxes, np.array([0, 1, 0]), 0.5).tolist() == [0, 1]


def test_only_the_best_candidates_enter():
    rng = np.random.default_rng(5)
    anchors = np.array([[i * 20.0, 0, i * 20 + 10, 10] for i in range(5)])
    logits = rng.permutation(5)[:, None].astype(float)
    found = make(anchors, candidates=2, image_size=(100, 200))(np.zeros((5, 4)), logits)
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-4.0)), 1 / (1 + np.exp(-3.0))])


def test_limit_on_detections():
    anchors = np.array([[i * 20.0, 0, i * 20 + 10, 10] for i in range(5)])
    logits = np.arange(5.0)[:, None]
    found = make(anchors, max_detections=3, image_size=(100, 200))(np.zeros((5, 4)), logits)
    assert found.boxes[:, 0].tolist() == [80, 60, 40]


def test_boxes_outside_the_image_are_dropped():
    anchors = np.array([[-30, 10, -10, 30], [10, 10, 30, 30.0]])
    found = make(anchors)(np.zeros((2, 4)), np.full((2, 1), 3.0))
    assert found.boxes.tolist() == [[10, 10, 30, 30]]
