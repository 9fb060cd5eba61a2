"""Which results count as equal to the network's, and which do not."""

from dataclasses import replace

import numpy as np
import pytest

from src.deploy.compare import Comparison, equal_indices, reference
from src.detection.boxes import clip
from src.detection.postprocess import Detections, Postprocessor, best_first
from src.runtime.errors import NotFinite
from tests.references import random_boxes, slow_nms

SIZE = (100, 120)
SUPPRESSION = Postprocessor(score_threshold=0.3, candidates=0, nms_iou=0.5, max_detections=10)


def some(count=30, seed=0):
    """Anchors that are the predictions, with logits of two classes."""
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


def test_equal_indices_without_detections():
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    one = Detections(np.zeros((1, 4)), np.zeros(1), np.zeros(1, int))
    assert equal_indices(one, nothing).tolist() == [-1]
    assert equal_indices(nothing, one).tolist() == []


def test_near_tied_scores_prove_nothing():
    deltas, logits, anchors = some(count=300)
    wanted = reference(deltas, logits * 0 + 12, anchors, SIZE, candidates=20, suppression=None)
    moved = change(wanted.possible.take(slice(20)), slice(None), box=30.0)
    (line,) = compare(moved, wanted).problems
    assert "too close together" in line


@pytest.mark.parametrize("suppression", [None, SUPPRESSION])
@pytest.mark.parametrize("rows", [[0] * 10, [0, 0, 1, 1, 2, 2], list(range(9, -1, -1))])
def test_rows_given_twice_or_in_another_order(suppression, rows):
    wanted = reference(*some(), SIZE, candidates=10, suppression=suppression)
    assert compare(wanted.sure, wanted).problems == ()
    assert len(compare(wanted.sure.take(rows), wanted).problems) > 0


def two(first, second, *, overlap=19.0, candidates=6):
    """Two boxes of one class with these logits, 20 pixels wide, that share `overlap` pixels."""
    anchors = np.float32([[0, 0, 20, 20], [20 - overlap, 0, 40 - overlap, 20]])
    logits = np.float32([[first, -9], [second, -9]])
    wanted = reference(
        np.zeros((2, 4), np.float32),
        logits,
        anchors,
        SIZE,
        candidates=candidates,
        suppression=SUPPRESSION,
    )
    return wanted, Detections(anchors, 1 / (1 + np.exp(-logits[:, 0])), np.zeros(2, int))


def test_scores_next_to_each_other_may_come_in_either_order():
    wanted, both = two(1.000001, 1.0)
    assert len(wanted.sure.scores) == 1
    assert compare(both.take([0]), wanted).problems == ()
    wanted, both = two(1.000001, 1.0)
    assert compare(both.take([1]), wanted).problems == (
        "image 1: 0 of 1 rows equal one of the network's; the scores of the others are too close "
        "together to compare",
    )
    # with more that can be compared it passes
    more = Detections(
        np.concatenate([both.boxes[1:], wanted.sure.boxes + 50]),
        np.concatenate([both.scores[1:], [0.5]]),
        np.zeros(2, int),
    )
    wanted = replace(
        wanted,
        sure=best_first([wanted.sure, more.take([1])]),
        possible=best_first([wanted.possible, more.take([1])]),
    )
    assert compare(more, wanted).problems == ()
    # but not where the scores differ, or the boxes do not overlap
    wanted, both = two(1.1, 1.0)
    assert len(compare(both.take([1]), wanted).problems) >= 2
    wanted, both = two(1.000001, 1.0, overlap=2)
    assert any("only the network" in line for line in compare(both.take([1]), wanted).problems)


def test_the_last_candidate_may_be_another():
    wanted, both = two(1.000001, 1.0, overlap=2, candidates=1)
    assert len(wanted.sure.scores) == 1
    for rows in ([0], [1]):
        lines = compare(both.take(rows), wanted).problems
        assert not any("only the" in line for line in lines)


@pytest.mark.parametrize("suppression", [None, SUPPRESSION])
def test_candidates_of_each_level(suppression):
    """The best three of twenty anchors, of seven and of two, with two classes each."""
    deltas, logits, anchors = some(count=29)
    levels, first, expected = [20, 7, 2], 0, []
    for count in levels:
        own = [(-logits[a, k], a, k) for a in range(first, first + count) for k in (0, 1)]
        expected += sorted(own)[:3]
        first += count
    values, rows, labels = zip(*sorted(expected))
    scores = (1 / (1 + np.exp(np.float64(values)))).astype(np.float32)
    chosen = Detections(clip(anchors[list(rows)], *SIZE[::-1]), scores, np.array(labels))
    keys = {"candidates": 3, "suppression": suppression, "levels": levels}
    wanted = reference(deltas, logits, anchors, SIZE, **keys)
    if suppression is None:
        assert wanted.limit == 9
        found = chosen
        without_levels = reference(
            deltas, logits, anchors, SIZE, candidates=9, suppression=suppression
        )
        assert compare(found, without_levels).problems != ()
    else:
        above = chosen.take(chosen.scores > 0.3)
        found = above.take(slow_nms(above.boxes, above.labels, 0.5))
    assert len(found.scores) > 3
    assert compare(found, wanted).problems == ()
    (line,) = compare(found.take(slice(1, None)), wanted).problems
    assert "only the network finds" in line


def test_the_last_candidate_of_a_level_may_be_another():
    anchors = np.float32([[0, 0, 9, 9], [20, 20, 29, 29], [50, 50, 59, 59]])
    logits = np.float32([[1.000001, -9], [1, -9], [0, -9]])
    deltas = np.zeros((3, 4), np.float32)
    found = Detections(anchors, 1 / (1 + np.exp(-logits[:, 0])), np.zeros(3, int))
    for suppression in (None, SUPPRESSION):
        keys = {"candidates": 1, "suppression": suppression, "levels": [2, 1]}
        wanted = reference(deltas, logits, anchors, SIZE, **keys)
        for rows in ([0, 2], [1, 2]):
            lines = compare(found.take(rows), wanted).problems
            assert not any("only the" in line for line in lines)
        if suppression is None:
            assert any("only the network" in x for x in compare(found.take([0]), wanted).problems)


def test_no_overlap_allowed_at_all():
    deltas, logits, anchors = some()
    apart = np.float32([[x, y, x + 5, y + 5] for x in range(0, 60, 10) for y in range(0, 50, 10)])
    strict = replace(SUPPRESSION, nms_iou=0.0)
    wanted = reference(deltas, logits, apart, SIZE, candidates=40, suppression=strict)
    assert len(wanted.sure.scores) == 10


def test_a_network_whose_outputs_are_no_numbers():
    deltas, logits, anchors = some()
    with pytest.raises(NotFinite):
        reference(deltas, logits * np.nan, anchors, SIZE, candidates=9, suppression=None)
