import numpy as np
import pytest

from src.evaluation.diagnosis import THRESHOLDS, calibrate, confusion_matrix, trade_off
from src.evaluation.matching import from_score, match_split
from tests.datasets import make_rows, make_split

ONE, TWO, THREE = (0, 0, 40, 40), (50, 0, 90, 40), (0, 50, 40, 90)


@pytest.fixture
def case():
    annotations = make_split([[(ONE, 0), (TWO, 1), (THREE, 1)], [((0, 0, 100, 100), 0, True)]],
                             classes=2)  # fmt: skip
    rows = make_rows(
        (0, ONE, 0, 0.9),
        (0, ONE, 1, 0.8),  # the object is taken, so nothing is there
        (0, TWO, 0, 0.7),  # a confusion
        (0, (2, 50, 40, 90), 1, 0.2),  # right, but of a low score
        (1, (10, 10, 20, 20), 0, 0.95),  # in a crowd
    )
    return annotations, match_split(annotations, rows)


def confusion(annotations, matches, min_score):
    return confusion_matrix(annotations, from_score(matches, min_score))


def test_confusion_matrix(case):
    # rows: true a, true b, background
    assert confusion(*case, 0.3).tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert confusion(*case, 0.0).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert confusion(*case, 1.0).tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 0]]


def test_confusion_with_the_smaller_of_two_overlapping_objects():
    annotations = make_split([[(ONE, 0), ((0, 0, 40, 36), 1)]], classes=3)
    rows = make_rows((0, ONE, 0, 0.9), (0, ONE, 2, 0.8))  # the first object is found
    matrix = confusion(annotations, match_split(annotations, rows), 0.3)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_an_object_is_confused_once_by_the_best_detection():
    annotations = make_split([[(ONE, 0)]], classes=3)
    rows = make_rows((0, ONE, 1, 0.5), (0, ONE, 2, 0.8))
    matrix = confusion(annotations, match_split(annotations, rows), 0.3)
    assert matrix[0].tolist() == [0, 0, 1, 0]
    assert matrix[3].tolist() == [0, 1, 0, 0]


def test_calibration(case):
    found = calibrate(case[1])
    assert found.count.tolist() == [0, 0, 1, 0, 0, 0, 0, 1, 1, 1]  # the crowd's is left out
    assert found.score[[2, 7, 8, 9]].tolist() == pytest.approx([0.2, 0.7, 0.8, 0.9])
    assert found.right[[2, 7, 8, 9]].tolist() == [1, 0, 0, 1]
    assert found.error == pytest.approx((0.8 + 0.7 + 0.8 + 0.1) / 4)


def test_trade_off(case):
    found = trade_off(*case)
    at = {round(t, 2): i for i, t in enumerate(THRESHOLDS)}
    assert found.precision[at[0.0]] == pytest.approx(2 / 4)
    assert found.recall[at[0.0]] == pytest.approx(2 / 3)
    assert found.precision[at[0.85]] == 1
    assert found.recall[at[0.85]] == pytest.approx(1 / 3)
    assert np.isnan(found.precision[at[0.99]])
    assert found.recall[at[0.99]] == 0
    assert found.f1[at[0.0]] == pytest.approx(2 * 2 / (4 + 3))
    assert found.best() == found.f1.argmax()


def test_no_objects_and_no_detections():
    annotations = make_split([[]], classes=1)
    matches = match_split(annotations, make_rows())
    assert confusion_matrix(annotations, matches).tolist() == [[0, 0], [0, 0]]
    assert np.isnan(calibrate(matches).error)
    assert trade_off(annotations, matches).best() == 0


def test_detections_without_any_object():
    annotations = make_split([[]], classes=1)
    matches = match_split(annotations, make_rows((0, ONE, 0, 0.9)))
    assert confusion_matrix(annotations, matches).tolist() == [[0, 0], [1, 0]]
    assert np.isnan(trade_off(annotations, matches).recall).all()
