import numpy as np
import pytest

from src.data.annotations import CROWDS, DIFFICULT
from src.evaluation.coco_metric import evaluate
from src.evaluation.error_kinds import find_errors
from src.evaluation.matching import NOTHING, match_split
from tests.datasets import make_rows, make_split
from tests.evaluation.test_coco_metric import CLASSES, results_of, split, truth_at  # noqa: F401

ONE, TWO = (0, 0, 40, 40), (0, 0, 40, 30)  # IoU 0.75


def test_each_object_is_found_once_by_the_best_detection_of_its_class():
    annotations = make_split([[], [(ONE, 0), (TWO, 0), (ONE, 1)]], classes=2)
    rows = make_rows((1, TWO, 0, 0.4), (1, ONE, 0, 0.9), (1, ONE, 0, 0.5), (0, ONE, 0, 0.8))
    matches = match_split(annotations, rows)
    assert matches.image.tolist() == [0, 1, 1, 1]
    assert matches.score.tolist() == [0.8, 0.9, 0.5, 0.4]
    # the second on the first object takes the other one, so the exact one comes too late
    assert matches.found.tolist() == [NOTHING, 0, 1, NOTHING]
    assert matches.object_found.tolist() == [True, True, False]
    assert matches.own.tolist() == [NOTHING, 0, 0, 1]
    assert matches.own_iou.tolist() == [0, 1, 1, 1]
    assert matches.other.tolist() == [NOTHING, 2, 2, 2]
    assert matches.other_iou.tolist() == [0, 1, 1, 0.75]
    assert matches.is_wrong.tolist() == [True, False, False, True]


@pytest.mark.parametrize(("regions", "ignored"), [(CROWDS, True), (DIFFICULT, False)])
def test_a_small_box_in_a_large_region(regions, ignored):
    annotations = make_split([[((0, 0, 100, 100), 0, True)]], classes=2, regions=regions)
    rows = make_rows((0, (10, 10, 20, 20), 0, 0.9), (0, (10, 10, 20, 20), 1, 0.8))
    assert match_split(annotations, rows).ignored.tolist() == [ignored, False]


def test_ap50_is_that_of_coco(split):  # noqa: F811
    rng = np.random.default_rng(4)
    shown = []
    for boxes, labels in truth_at(split, 320):
        moved = boxes + rng.normal(0, 12, boxes.shape).astype(np.float32)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 5)
        shown.append((moved, labels))
    rows = results_of(split, shown)
    rows[:, 5] = rng.permutation(len(rows)) / len(rows)
    ap50 = evaluate(split, CLASSES, rows).overall["AP50"]
    assert 0.1 < ap50 < 0.9
    assert find_errors(split, match_split(split, rows)).ap50 == pytest.approx(ap50)
