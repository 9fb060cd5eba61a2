"""The workers' part of task alignment: an anchor for each object, and regions to ignore."""

import numpy as np
import pytest

from src.config.configuration import make_config
from src.detection.assign import BACKGROUND, IGNORED, build_assigner


def make_assigner(**keys):
    shared = {"assigner": "task_aligned", "class_loss": "quality", "image_size": [64, 96]}
    return build_assigner(make_config([({**shared, **keys}, "test")]))


def assign(assigner, boxes):
    return assigner(np.array(boxes, np.float32), np.zeros(len(boxes), bool))


def slow_distance(anchor, box) -> float:
    """From the box's centre to the anchor's in sides of the box, the larger of x and y."""
    return max(
        abs(anchor[i] + anchor[i + 2] - box[i] - box[i + 2]) / 2 / (box[i + 2] - box[i])
        for i in (0, 1)
    )


@pytest.mark.parametrize("seed", range(5))
def test_an_object_has_the_anchor_of_the_nearest_centre(seed):
    rng = np.random.default_rng(seed)
    assigner = make_assigner()
    low = rng.uniform(0, 50, 2)
    box = np.concatenate([low, low + rng.uniform(0.2, 45, 2)]).tolist()
    distances = [slow_distance(anchor, box) for anchor in assigner.anchors.tolist()]
    (found,) = np.flatnonzero(assign(assigner, [box]) >= 0)
    assert distances[found] == pytest.approx(min(distances), abs=1e-5)


def test_no_two_objects_have_the_same_anchor():
    boxes = [[8, 8, 9, 9], [8, 8, 9, 9], [8.5, 8, 9, 9], [0, 0, 64, 64], [0, 0, 64, 64]]
    assigned = assign(make_assigner(scales_per_octave=1, aspect_ratios=[1.0]), boxes)
    assert sorted(assigned[assigned >= 0]) == [0, 1, 2, 3, 4]
    assert set(assigned[assigned < 0]) == {BACKGROUND}


def test_crowds_are_ignored_and_have_no_anchor():
    boxes = np.array([[0, 0, 96, 64], [40, 20, 70, 50]], np.float32)
    assigner = make_assigner()
    assigned = assigner(boxes, np.array([True, False]))
    assert (assigned == 1).sum() == 1 and not (assigned == 0).any()
    assert (assigned == IGNORED).sum() > 100
    assert (assigner(boxes[:1], np.array([True])) < 0).all()
    assert (assigner(boxes[:0], np.zeros(0, bool)) == BACKGROUND).all()


def test_counts_are_those_of_candidates():
    assigner = make_assigner(scales_per_octave=1, aspect_ratios=[1.0], task_aligned_candidates=9)
    # the centres of 2 x 2 cells of P3 and 1 of P4; of none; of more than 9
    boxes = np.array([[1, 1, 15, 15], [1, 1, 2, 2], [0, 0, 64, 64], [0, 0, 64, 64]], np.float32)
    crowd = np.array([False, False, False, True])
    assert assigner.anchor_counts(boxes, crowd).tolist() == [5, 1, 9, 0]
