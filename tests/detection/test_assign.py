from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from src.config.configuration import make_config
from src.detection.anchors import build_anchors
from src.detection.assign import (
    ASSIGNERS,
    BACKGROUND,
    IGNORED,
    Assigner,
    MaxIoUAssigner,
    build_assigner,
    forced_boxes,
)
from tests.references import random_boxes, slow_iou


def slow_assign(anchors, boxes, positive_iou):
    """The rule in plain Python: threshold first, then a forced anchor for every object."""
    assigned = []
    for anchor in anchors:
        overlaps = [slow_iou(anchor, box) for box in boxes]
        best = max(range(len(boxes)), key=lambda g: overlaps[g])
        assigned.append(best if overlaps[best] >= positive_iou else -1)
    pairs = [
        (slow_iou(anchor, box), g, a)
        for a, anchor in enumerate(anchors)
        for g, box in enumerate(boxes)
    ]
    pairs.sort(key=lambda p: (-p[0], p[1], p[2]))
    served, taken = set(), set()
    for _, g, a in pairs:  # the best free pair first, so the better IoU keeps a wanted box
        if g not in served and a not in taken:
            assigned[a] = g
            served.add(g)
            taken.add(a)
    return assigned


def no_crowd(count):
    return np.zeros(count, bool)


def test_literal_assignment():
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [50, 50, 60, 60]], np.float32)
    boxes = np.array([[0, 0, 10, 12]], np.float32)  # IoU 10/12, 12/20 and 0
    found = MaxIoUAssigner(anchors, positive_iou=0.5)(boxes, no_crowd(1))
    assert found.tolist() == [0, 0, BACKGROUND]
    assert MaxIoUAssigner(anchors, positive_iou=0.7)(boxes, no_crowd(1)).tolist() == [0, -1, -1]


def test_object_below_the_threshold_takes_its_best_anchor():
    anchors = np.array([[0, 0, 10, 10], [100, 100, 110, 110]], np.float32)
    boxes = np.array([[104, 104, 107, 107]], np.float32)
    assert MaxIoUAssigner(anchors, positive_iou=0.5)(boxes, no_crowd(1)).tolist() == [BACKGROUND, 0]


def test_better_iou_keeps_a_forced_box_and_the_other_takes_its_next_best():
    anchors = np.array([[0, 0, 10, 10], [8, 0, 18, 10], [40, 40, 50, 50]], np.float32)
    boxes = np.array([[5, 0, 11, 6], [0, 0, 9, 9]], np.float32)  # both like the first best
    assert MaxIoUAssigner(anchors, positive_iou=0.9)(boxes, no_crowd(2)).tolist() == [1, 0, -1]


def test_displaced_object_does_not_take_the_anchor_of_a_better_one():
    # rows: objects, columns: anchors; object 1 loses column 0 and may not take column 1
    overlaps = np.array([[0.9, 0.0, 0.0], [0.8, 0.3, 0.2], [0.1, 0.5, 0.4]], np.float32)
    assert sorted(forced_boxes(overlaps)) == [(0, 0), (1, 2), (2, 1)]


def test_object_that_overlaps_no_anchor_has_none():
    anchors = np.array([[0, 0, 10, 10], [40, 40, 50, 50]], np.float32)
    boxes = np.array([[20, 20, 30, 30], [42, 42, 50, 50]], np.float32)
    assert MaxIoUAssigner(anchors, positive_iou=0.9)(boxes, no_crowd(2)).tolist() == [-1, 1]


def test_anchors_of_each_object_are_counted():
    anchors = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [40, 40, 50, 50]], np.float32)
    boxes = np.array([[20, 20, 30, 30], [0, 0, 10, 10], [40, 40, 50, 50]], np.float32)
    assigner = MaxIoUAssigner(anchors, positive_iou=0.5)
    assert assigner.anchor_counts(boxes, np.array([False, False, True])).tolist() == [0, 2, 0]


@pytest.mark.parametrize("seed", range(6))
def test_equals_plain_python(seed):
    rng = np.random.default_rng(seed)
    cfg = make_config([({"image_size": [64, 96]}, "test")])
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    corners = rng.uniform(0, 50, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 45, (5, 2))], axis=1)
    boxes = boxes.astype(np.float32)
    boxes[4] = boxes[3] + np.float32(0.5)  # two objects that want the same anchors
    found = MaxIoUAssigner(anchors, positive_iou=0.5)(boxes, no_crowd(5))
    assert found.tolist() == slow_assign(anchors, boxes, 0.5)


def test_no_objects():
    anchors = np.array([[0, 0, 10, 10]], np.float32)
    found = MaxIoUAssigner(anchors, positive_iou=0.5)(np.zeros((0, 4), np.float32), no_crowd(0))
    assert found.tolist() == [BACKGROUND]
    assert found.dtype == np.int16


def test_crowd_is_ignored_never_learnt_and_yields_to_objects():
    anchors = np.array(
        [[0, 0, 10, 10], [20, 0, 30, 10], [26, 0, 36, 10], [60, 0, 70, 10]], np.float32
    )
    boxes = np.array([[0, 0, 31, 10], [0, 0, 10, 10]], np.float32)
    crowd = np.array([True, False])
    # inside the crowd, the object; inside; half inside; outside
    found = MaxIoUAssigner(anchors, positive_iou=0.5)(boxes, crowd)
    assert found.tolist() == [1, IGNORED, IGNORED, -1]


def test_many_objects_each_get_an_anchor():
    cfg = make_config([({"image_size": [32, 32]}, "test")])
    anchors = build_anchors(cfg).boxes(cfg.image_size)
    boxes = np.tile(np.array([[3, 3, 9, 9]], np.float32), (40, 1))  # identical ones
    found = MaxIoUAssigner(anchors, positive_iou=0.5)(boxes, no_crowd(40))
    assert set(range(40)) <= set(found.tolist())


def test_more_objects_than_anchors():
    anchors = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [40, 40, 50, 50]], np.float32)
    boxes = np.array([[0, 0, 9, 9], [1, 0, 9, 9], [2, 0, 9, 9], [3, 0, 9, 9]], np.float32)
    found = MaxIoUAssigner(anchors, positive_iou=0.9)(boxes, no_crowd(4))
    # the best takes the first box, the next the second; nothing is forced on the third
    assert found[0] == 0
    assert found[1] >= 1
    assert found[2] == BACKGROUND


def test_same_assigner_serves_threads():
    """Threads share one assigner, so it may keep nothing of a call."""
    cfg = make_config([({"image_size": [96, 96]}, "test")])
    assigner = MaxIoUAssigner(build_anchors(cfg).boxes(cfg.image_size), positive_iou=0.5)
    rng = np.random.default_rng(0)
    inputs = [random_boxes(rng, 6).astype(np.float32) for _ in range(64)]
    alone = [assigner(boxes, no_crowd(6)) for boxes in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda boxes: assigner(boxes, no_crowd(6)), inputs))
    np.testing.assert_array_equal(alone, together)


class FirstAnchors(Assigner):
    """The first anchors learn the objects in turn, the very first one the last object too."""

    def match(self, boxes):
        rows = np.arange(len(boxes))
        return np.append(rows, 0), np.append(rows, len(boxes) - 1)


def test_another_assigner_by_its_name(monkeypatch):
    cfg = make_config([({"image_size": [64, 96]}, "test")])
    seen = []

    def build(cfg, anchors):
        seen.append(anchors)
        return FirstAnchors(anchors.boxes(cfg.image_size))

    monkeypatch.setitem(ASSIGNERS, "max_iou", build)
    assigner = build_assigner(cfg)
    assert [anchors.anchors_per_cell for anchors in seen] == [6]
    np.testing.assert_array_equal(assigner.anchors, build_anchors(cfg).boxes(cfg.image_size))
    boxes = np.array([[0, 0, 9, 9], [40, 20, 90, 60], [8, 8, 20, 20]], np.float32)
    found = assigner(boxes, np.array([False, True, False]))
    assert found[:3].tolist() == [2, 2, BACKGROUND]  # indices are those of all boxes
    assert set(found[3:].tolist()) == {BACKGROUND, IGNORED}
