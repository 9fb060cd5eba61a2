"""What counts as the same, and what as another outcome."""

import numpy as np
import pytest

from src.deploy.compare import Comparison, nearest, reference
from src.detection.postprocess import Detections
from tests.references import random_boxes

SIZE = (100, 120)
SUPPRESSION = {
    "score_threshold": 0.3, "max_iou": 0.5, "class_agnostic": False, "max_detections": 10,
}  # fmt: skip


def some(count=30, seed=0):
    """Default boxes that are the predictions, with logits of two classes."""
    rng = np.random.default_rng(seed)
    anchors = random_boxes(rng, count).astype(np.float32)
    return (
        np.zeros((count, 4), np.float32),
        rng.normal(0, 2, (count, 2)).astype(np.float32),
        anchors,
    )


def compare(found, wanted):
    comparison = Comparison()
    comparison.add(found, wanted, image=1)
    return comparison


def change(found, row, *, box=0.0, score=0.0, label=0):
    boxes, scores, labels = found.boxes.copy(), found.scores.copy(), found.labels.copy()
    boxes[row] += box
    scores[row] += score
    labels[row] = (labels[row] + label) % 2
    return Detections(boxes, scores, labels)


@pytest.mark.parametrize("suppression", [None, SUPPRESSION])
def test_the_same_and_another(suppression):
    wanted = reference(*some(), SIZE, candidates=20, suppression=suppression)
    own = wanted.sure
    assert len(own.scores) == wanted.limit
    same = compare(own, wanted)
    assert same.problems == ()
    assert (same.boxes, same.scores, same.compared) == (0, 0, len(own.scores))
    near = compare(change(own, 3, box=0.005, score=5e-5), wanted)
    assert near.problems == ()
    np.testing.assert_allclose([near.boxes, near.scores], [0.005, 5e-5], rtol=0.01)
    for other in ({"box": 0.02}, {"score": 2e-4}, {"label": 1}):
        lines = compare(change(own, 3, **other), wanted).problems
        assert [line.split(" label")[0] for line in lines] == [
            "image 1: only the file finds",
            "image 1: only the network finds",
        ]
    # one is lost: what was after the last row takes its place, or nothing
    rest = np.arange(len(own.scores)) != 3
    (line,) = compare(own.take(rest), wanted).problems
    assert f"score {own.scores[3]:.6f}" in line


def test_nothing_found_where_there_is_something():
    wanted = reference(*some(), SIZE, candidates=20, suppression=SUPPRESSION)
    nothing = wanted.sure.take(np.zeros(0, int))
    assert "only the network finds" in compare(nothing, wanted).problems[0]
    assert compare(nothing, wanted).compared == 0


def test_nothing_to_find():
    deltas, logits, anchors = some()
    wanted = reference(deltas, logits - 20, anchors, SIZE, candidates=20, suppression=SUPPRESSION)
    nothing = wanted.sure
    assert len(nothing.scores) == 0
    assert compare(nothing, wanted).problems == ()


def test_an_overlap_next_to_the_limit_may_go_either_way():
    # the IoU of the two is 0.5 but for a ten-thousandth
    anchors = np.float32([[0, 0, 20, 20], [0, 0, 20, 10.002], [50, 50, 60, 60]])
    logits = np.float32([[2, -9], [1, -9], [0, -9]])
    wanted = reference(
        np.zeros((3, 4), np.float32), logits, anchors, SIZE, candidates=6, suppression=SUPPRESSION
    )
    assert len(wanted.sure.scores) == 2
    both = Detections(anchors, 1 / (1 + np.exp(-logits[:, 0])), np.zeros(3, int))
    assert compare(both, wanted).problems == ()
    assert compare(both.take([0, 2]), wanted).problems == ()
    assert len(compare(both.take([1, 2]), wanted).problems) == 1


def test_a_score_next_to_the_threshold_may_go_either_way():
    at = np.log(0.3 / 0.7)
    logits = np.float32([[2, -9], [at + 1e-5, -9], [at - 1e-5, -9]])
    anchors = np.float32([[0, 0, 9, 9], [20, 20, 29, 29], [50, 50, 59, 59]])
    wanted = reference(
        np.zeros((3, 4), np.float32), logits, anchors, SIZE, candidates=6, suppression=SUPPRESSION
    )
    all_three = Detections(anchors, 1 / (1 + np.exp(-logits[:, 0])), np.zeros(3, int))
    for rows in ([0], [0, 1], [0, 1, 2]):
        assert compare(all_three.take(rows), wanted).problems == ()


def test_nearest_of_none():
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    one = Detections(np.zeros((1, 4)), np.zeros(1), np.zeros(1, int))
    assert nearest(one, nothing).tolist() == [-1]
    assert nearest(nothing, one).tolist() == []


def test_scores_that_are_all_but_equal_prove_nothing():
    deltas, logits, anchors = some(count=300)
    wanted = reference(deltas, logits * 0 + 12, anchors, SIZE, candidates=20, suppression=None)
    moved = change(wanted.sure, slice(None), box=30.0)
    (line,) = compare(moved, wanted).problems
    assert "too close together" in line
