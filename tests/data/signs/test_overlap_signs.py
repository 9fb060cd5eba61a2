"""Signs of objects that share their box with others."""

import numpy as np

from src.data.signs.overlaps import close_pairs, overlap_signs
from tests.datasets import make_split

OWN = [(5, 5, 40, 30), (50, 10, 90, 50), (20, 60, 70, 95)]  # far from each other


def moved(box, step):
    """The box in another image, so that no two images have the same."""
    return tuple(side + step / 2 for side in box)


def split(more=lambda number: [], *, images=10, classes=2):
    """Three objects in each image, and more."""
    objects = [
        [(moved(box, n), k % 2) for k, box in enumerate(OWN)] + more(n) for n in range(images)
    ]
    return make_split(objects, classes=classes)


def names(annotations):
    return [sign.name for sign in overlap_signs(annotations)]


def test_pairs_are_those_of_one_image_that_overlap_most():
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 8], [50, 50, 90, 90], [51, 50, 91, 90]], float
    )
    assert close_pairs(boxes, np.zeros(5, int)).tolist() == [[0, 1], [3, 4]]
    assert close_pairs(boxes, np.array([0, 1, 0, 2, 3])).tolist() == []
    assert close_pairs(np.zeros((0, 4)), np.zeros(0, int)).shape == (0, 2)


def test_pairs_are_all_that_a_comparison_of_each_with_each_finds():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 4, (300, 2))  # many near
    boxes = np.hstack([corners, corners + rng.integers(18, 24, (300, 2))]).astype(float)
    owners = np.sort(rng.integers(0, 9, 300))
    low, high = np.maximum(boxes[:, None], boxes), np.minimum(boxes[:, None], boxes)
    common = (high[..., 2:] - low[..., :2]).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    alike = (common / (areas[:, None] + areas - common) >= 0.9) & (owners[:, None] == owners)
    expected = {tuple(pair) for pair in np.argwhere(np.triu(alike, 1))}
    assert {tuple(sorted(pair)) for pair in close_pairs(boxes, owners).tolist()} == expected


def test_own_boxes_have_no_sign():
    assert names(split()) == []
    assert names(make_split([], classes=2)) == []


def test_objects_that_are_there_twice():
    again = split(lambda n: [((6 + n / 2, 5 + n / 2, 40 + n / 2, 30 + n / 2), 0)])
    (sign,) = overlap_signs(again)
    assert (sign.name, sign.certain) == ("double_boxes", False)
    assert sign.found.startswith("20 of 40 objects share their box with one of the same class")
    (sign,) = overlap_signs(split(lambda n: [(moved(OWN[0], n), 1)]))
    assert sign.name == "two_classes"
    # as ignored regions they are no objects
    assert names(split(lambda n: [(moved(OWN[0], n), 1, True)])) == []
