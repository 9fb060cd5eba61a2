import numpy as np
import pytest

from src.detection.postprocess import Detections, Postprocessor, rank_in_class
from src.runtime.errors import NotFinite
from tests.references import random_boxes, slow_encode, slow_nms


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


def make(**changes):
    options = {"score_threshold": 0.05, "nms_iou": 0.6, "candidates": 1000, "max_detections": 100}
    return Postprocessor(**{**options, **changes})


def detect(deltas, logits, anchors, *, side=100, **changes):
    """Detections in an image of the network's size."""
    postprocess = make(**changes)
    found = postprocess.decoded(deltas, logits, anchors)
    return postprocess([found.in_image(np.ones(2), np.array([side, side]))])


def apart(count):
    """Anchors (count,4) beside each other."""
    return np.array([[i * 20.0, 0, i * 20 + 10, 10] for i in range(count)])


@pytest.mark.parametrize("seed", range(4))
def test_equals_plain_python(seed):
    rng = np.random.default_rng(seed)
    anchors = random_boxes(rng, 120)
    deltas = rng.normal(0, 0.5, (120, 4))
    logits = rng.normal(-2, 2, (120, 3))
    found = detect(deltas, logits, anchors, max_detections=50)
    expected = slow_detect(deltas, logits, anchors, 0.05, 0.6, 50)
    assert len(found.scores) == len(expected)
    np.testing.assert_allclose(found.boxes, [e[0] for e in expected], atol=1e-9)
    np.testing.assert_allclose(found.scores, [e[1] for e in expected])
    assert found.labels.tolist() == [e[2] for e in expected]


def test_thousands_above_the_threshold():
    rng = np.random.default_rng(9)
    anchors = random_boxes(rng, 2500)
    deltas, logits = np.zeros((2500, 4)), rng.normal(2, 1, (2500, 4))
    found = detect(deltas, logits, anchors, candidates=400)
    order = np.argsort(-logits.ravel(), kind="stable")[:400]
    boxes, labels = anchors[order // 4].clip(0, 100), order % 4
    kept = slow_nms(boxes.tolist(), labels, 0.6)[:100]
    np.testing.assert_allclose(found.boxes, boxes[kept], atol=1e-9)
    assert found.labels.tolist() == labels[kept].tolist()


def test_nothing_above_the_threshold():
    found = detect(np.zeros((1, 4)), np.full((1, 3), -20.0), np.array([[0, 0, 10, 10.0]]))
    assert found.boxes.shape == (0, 4)
    assert len(found.scores) == len(found.labels) == 0


def test_a_perfect_prediction_comes_back():
    anchors = np.array([[10, 10, 40, 50], [60, 60, 90, 90.0]])
    box = [15, 12, 48, 44.0]
    deltas = np.array([slow_encode(box, anchors[0]), [0, 0, 0, 0]])
    logits = np.array([[-9.0, 5.0], [-9.0, -9.0]])
    found = detect(deltas, logits, anchors)
    np.testing.assert_allclose(found.boxes, [box])
    assert found.labels.tolist() == [1]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-5)))


def test_classes_do_not_suppress_each_other_unless_asked_to():
    anchors = np.tile(np.array([[0, 0, 10, 10.0]]), (3, 1))
    logits = np.array([[3, -9], [-9, 2], [1, -9.0]])
    assert detect(np.zeros((3, 4)), logits, anchors).labels.tolist() == [0, 1]
    agnostic = detect(np.zeros((3, 4)), logits, anchors, class_agnostic=True)
    assert agnostic.labels.tolist() == [0]


def test_soft_suppression_lowers_scores():
    anchors = np.tile(np.array([[0, 0, 10, 10.0]]), (2, 1))
    found = detect(np.zeros((2, 4)), np.array([[3.0], [2.0]]), anchors, soft_sigma=0.5)
    best, second = 1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-2)) * np.exp(-2)
    assert found.scores.tolist() == pytest.approx([best, second])


def test_only_the_best_candidates_enter():
    logits = np.random.default_rng(5).permutation(5)[:, None].astype(float)
    found = detect(np.zeros((5, 4)), logits, apart(5), candidates=2)
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-4.0)), 1 / (1 + np.exp(-3.0))])


def test_the_best_of_each_level_enter():
    logits = np.float32([[3], [2], [1], [-1], [-2]])
    anchors = np.float32([[20 * x, 0, 20 * x + 9, 9] for x in range(5)])
    postprocess = make(score_threshold=0.01, candidates=0, per_level=1)
    found = postprocess.decoded(np.zeros((5, 4), np.float32), logits, anchors, [3, 2])
    assert found.boxes[:, 0].tolist() == [0, 60]
    # of two views all enter: four
    assert len(postprocess([found, found]).scores) == 2
    assert len(make(candidates=0, nms_iou=1.0)([found, found]).scores) == 4


def test_limit_on_detections():
    logits = np.arange(5.0)[:, None]
    found = detect(np.zeros((5, 4)), logits, apart(5), max_detections=3)
    assert found.boxes[:, 0].tolist() == [80, 60, 40]


def test_limit_on_detections_of_a_class():
    logits = np.array([[5, -9], [4, -9], [-9, 3], [2, -9], [-9, 1.0]])
    options = {"max_per_class": 2, "candidates": 0}
    found = detect(np.zeros((5, 4)), logits, apart(5), max_detections=0, **options)
    assert found.labels.tolist() == [0, 0, 1, 1]
    found = detect(np.zeros((5, 4)), logits, apart(5), max_detections=3, **options)
    assert found.labels.tolist() == [0, 0, 1]


def test_boxes_outside_the_image_are_dropped():
    anchors = np.array([[-30, 10, -10, 30], [10, 10, 30, 30.0]])
    found = detect(np.zeros((2, 4)), np.full((2, 1), 3.0), anchors)
    assert found.boxes.tolist() == [[10, 10, 30, 30]]


def test_outputs_that_are_no_numbers_are_refused():
    anchors, deltas, logits = apart(2), np.zeros((2, 4)), np.zeros((2, 3))
    deltas[1, 2] = np.nan
    with pytest.raises(NotFinite, match="box"):
        make().decoded(deltas, logits, anchors)
    logits[0, 1] = np.nan
    with pytest.raises(NotFinite, match="nan"):
        make().decoded(np.zeros((2, 4)), logits, anchors)
    with pytest.raises(NotFinite, match="nan"):
        make().chosen(anchors, logits[:, 1], np.zeros(2, int))
    logits[0, 1] = 0
    logits[1] = -9  # what is not a candidate may be anything
    assert len(make().decoded(deltas, logits, anchors).scores) == 3


def test_rows_that_a_file_has_chosen():
    boxes = apart(5)
    scores, labels = np.array([0.9, 0.5, 0.2, 0.05, 0]), np.array([2, 0, 1, 0, -1])
    found = make(score_threshold=0.1, candidates=2).chosen(boxes, scores, labels)
    np.testing.assert_array_equal(found.boxes, boxes[:2])
    assert found.scores.tolist() == [0.9, 0.5]
    assert found.labels.tolist() == [2, 0]
    assert len(make(score_threshold=0.0, candidates=0).chosen(boxes, scores, labels).scores) == 4
    boxes[0, 1] = np.inf
    with pytest.raises(NotFinite, match="box"):
        make().chosen(boxes, scores, labels)


@pytest.mark.parametrize("by_level", [False, True])
def test_predictions_beside_the_window_take_no_places(by_level):
    logits = np.arange(6.0, 0, -1)[:, None]
    # the image is in the left 45 pixels: the second, fourth and sixth are beside it, the fifth half
    anchors = np.float32(
        [
            [0, 0, 9, 9],
            [50, 0, 59, 9],
            [10, 0, 19, 9],
            [45, 0, 54, 9],
            [40, 0, 49, 9],
            [0, 60, 9, 69],
        ]
    )
    deltas, window = np.zeros((6, 4), np.float32), np.float32([0, 0, 45, 60])
    limits = {"candidates": 0, "per_level": 2} if by_level else {"candidates": 3}
    levels = [4, 2]
    found = make(**limits, window=window).decoded(deltas, logits, anchors, levels)
    assert found.boxes[:, 0].tolist() == [0, 10, 40]
    assert found.scores == pytest.approx(1 / (1 + np.exp([-6, -4, -2])))
    before = make(**limits).decoded(deltas, logits, anchors, levels)
    assert before.boxes[:, 0].tolist() == ([0, 50, 40, 0] if by_level else [0, 50, 10])
    whole = make(**limits, window=np.float32([0, 0, 99, 99]))
    same = whole.decoded(deltas, logits, anchors, levels)
    assert same.boxes.tolist() == before.boxes.tolist()
    deltas[3] = np.nan
    with pytest.raises(NotFinite, match="box"):
        make(candidates=6, window=window).decoded(deltas, logits, anchors)


def test_rows_of_a_file_beside_the_window_take_no_places():
    scores, labels = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.zeros(5, int)
    own = make(candidates=2, window=np.float32([15, 0, 62, 10]))
    found = own.chosen(apart(5), scores, labels)
    assert found.boxes[:, 0].tolist() == [20, 40]


def test_back_to_the_image_from_a_mirrored_view():
    found = Detections(np.array([[10, 20, 30, 40.0]]), np.array([0.5]), np.array([1]))
    scale, size = np.array([0.5, 2.0]), np.array([200, 50])
    back = found.in_image(scale, size)
    assert back.boxes.tolist() == [[20, 10, 60, 20]]
    mirrored = found.in_image(scale, size, mirrored=100)
    assert mirrored.boxes.tolist() == [[140, 10, 180, 20]]


def test_views_are_joined_before_suppression():
    one = Detections(np.array([[0, 0, 10, 10.0]]), np.array([0.6]), np.array([0]))
    other = Detections(
        np.array([[0, 0, 10, 9.0], [50, 50, 60, 60]]), np.array([0.9, 0.2]), np.array([0, 1])
    )
    found = make()([one, other])
    assert found.scores.tolist() == [0.9, 0.2]
    assert found.boxes.tolist() == [[0, 0, 10, 9], [50, 50, 60, 60]]
    assert make(candidates=1)([one, other]).scores.tolist() == [0.9]


def test_rank_in_class():
    assert rank_in_class(np.array([3, 1, 3, 3, 1])).tolist() == [0, 0, 1, 2, 1]
    assert rank_in_class(np.zeros(0, int)).tolist() == []
