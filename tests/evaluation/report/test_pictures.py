from dataclasses import replace

import numpy as np

from src.data.dataset import build_annotations
from src.data.drawing import FOUND, IGNORED, MISSED, Mark, draw_marks
from src.evaluation.matching import from_score, match_split
from src.evaluation.report.pictures import (
    PICTURE_HEIGHT,
    ImageErrors,
    draw_images,
    drawn_once,
    errors_by_image,
    ordinary,
    worst_first,
)
from tests.datasets import make_rows, make_split

BOX = (10, 10, 50, 50)


def test_box_touches_its_edges():
    image = np.zeros((60, 80, 3), np.uint8)
    draw_marks(image, [Mark(np.array([10, 30, 50, 55]), "a", (0, 255, 0))])
    assert image[40, 10].tolist() == [0, 255, 0]
    assert image[40, 49].tolist() == [0, 255, 0]
    assert image[40, 30].tolist() == [0, 0, 0]


def test_worst_images_come_first_and_good_ones_not_at_all():
    annotations = make_split([[(BOX, 0)], [(BOX, 0)], [(BOX, 0), (BOX, 0, True)], []], classes=1)
    rows = make_rows(
        (0, (60, 60, 90, 90), 0, 0.9),  # one false and one missed
        (1, BOX, 0, 0.2),  # too low to count, so missed
        (2, BOX, 0, 0.9),
        (3, BOX, 0, 0.2),
    )
    matches = match_split(annotations, rows)
    assert worst_first(errors_by_image(annotations, from_score(matches, 0.3))) == [
        ImageErrors(0, 1, 1),
        ImageErrors(1, 0, 1),
    ]
    assert worst_first(errors_by_image(annotations, from_score(matches, 0.1))) == [
        ImageErrors(0, 1, 1),
        ImageErrors(3, 1, 0),
    ]


def test_ordinary_images_are_those_of_the_median():
    errors = [ImageErrors(i, n, 1) for i, n in enumerate([0, 9, 1, 2, 2, 30, 2, 1, 2, 4])]
    # 1 + (0 1 1 2 2 2 2 4 9 30): the median is 3
    assert {one.image for one in ordinary(errors, [5, 1])} == {3, 4, 6, 8}
    assert [one.image for one in ordinary(errors, [5, 1, 3, 4, 6, 8, 9])] in ([2, 7, 0], [7, 2, 0])
    assert ordinary(errors[:2], [0, 1]) == []


def test_one_object_is_drawn_once_under_its_best_class():
    # IoU with the first: 0.95, 0.95, 0.5; the last overlaps the one that is left out alone
    corners = np.array([[0, 0, 40, 40], [0, 0, 40, 38], [0, 0, 40, 38], [0, 0, 40, 20]], float)
    labels, none = np.array([0, 1, 0, 2]), np.zeros(4, bool)
    assert drawn_once(corners, labels, none).tolist() == [True, False, True, True]
    assert drawn_once(corners[:0], labels[:0], none[:0]).tolist() == []


def test_a_box_that_found_an_object_is_drawn_beside_a_better_one():
    corners = np.array([[0, 0, 40, 40], [0, 0, 40, 38], [0, 0, 40, 38]], float)
    hit = np.array([False, True, False])
    assert drawn_once(corners, np.array([0, 1, 2]), hit).tolist() == [True, True, False]


def has(half, colour):
    return bool((half == colour).all(axis=-1).any())


def test_colours_of_right_and_wrong_boxes(small):
    annotations = build_annotations(small, training=False)
    index = int(np.flatnonzero(annotations.object_counts() >= 2)[0])
    record = annotations[index]
    first = int(np.flatnonzero(~record.crowd)[0])
    x1, y1, x2, y2 = record.boxes[first].tolist()
    category = annotations.category_ids[record.labels[first]]
    right = [record.image_id, x1, y1, x2 - x1, y2 - y1, 0.9, category]
    wrong = [record.image_id, 1, 1, 5, 5, 0.9, category]
    for rows, expected in (
        ([right], [True, True, True, False]),
        ([], [False, True, False, False]),
        ([wrong], [False, True, False, True]),
    ):
        matches = match_split(annotations, np.array(rows).reshape(-1, 7))
        names = small.classes[1:]
        (drawn,) = draw_images(annotations, names, [from_score(matches, 0.3)], [index])
        picture = drawn.joined()
        assert drawn.record.image_id == record.image_id
        assert picture.shape[0] == PICTURE_HEIGHT
        halves = np.split(picture[:, : picture.shape[1] // 2 * 2], 2, axis=1)
        assert [has(half, c) for half in halves for c in (FOUND, MISSED)] == expected
        assert has(halves[0], IGNORED) == bool(record.crowd.any())


def test_low_scores_are_not_drawn(small):
    annotations = build_annotations(small, training=False)
    rows = np.array([[annotations.image_ids[0], 5, 5, 20, 30, 0.2, annotations.category_ids[0]]])
    matches = match_split(annotations, rows)
    names = small.classes[1:]
    hidden, shown = (
        next(draw_images(annotations, names, [from_score(matches, least)], [0])).joined()
        for least in (0.3, 0.1)
    )
    changed = (hidden != shown).any(axis=(0, 2))
    assert changed.any()
    assert not changed[: hidden.shape[1] // 2].any()


def test_unreadable_images_are_left_out(small, tmp_path):
    annotations = build_annotations(small, training=False)
    matches = match_split(annotations, np.zeros((0, 7)))
    elsewhere = replace(annotations, image_dir=tmp_path)
    assert list(draw_images(elsewhere, small.classes[1:], [matches], [0, 1])) == []
