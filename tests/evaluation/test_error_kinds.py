"""Kinds of error: by hand, and against the numbers of tidecv."""

import numpy as np
import pytest

from benchmarks.evaluation_data import generated_split
from src.data.readers.coco_reader import read_coco
from src.evaluation.error_kinds import KINDS, MEANINGS, count_errors, find_errors
from src.evaluation.matching import NOTHING, from_score, match_split
from tests.datasets import make_rows, make_split

OBJECT = (0, 0, 40, 40)


def kinds(annotations, rows):
    errors = find_errors(annotations, match_split(annotations, rows))
    return [KINDS[k] if k != NOTHING else "" for k in errors.kind], errors


def counts(annotations, rows, min_score=0.0):
    return count_errors(annotations, from_score(match_split(annotations, rows), min_score))


def test_each_kind():
    annotations = make_split([[(OBJECT, 0), ((60, 60, 90, 90), 1)]], classes=2)
    rows = make_rows(
        (0, OBJECT, 0, 0.9),  # right
        (0, (0, 0, 40, 38), 0, 0.8),  # again
        (0, OBJECT, 1, 0.7),  # of another class
        (0, (0, 0, 20, 20), 0, 0.6),  # IoU 0.25
        (0, (0, 0, 20, 20), 1, 0.5),  # IoU 0.25, and of another class
        (0, (50, 0, 60, 10), 0, 0.4),  # where nothing is
    )
    found, errors = kinds(annotations, rows)
    assert found == ["", "duplicate", "class", "localisation", "both", "background"]
    assert counts(annotations, rows) == dict.fromkeys(KINDS, 1)  # the second object is missed
    assert errors.missed.tolist() == [False, True]
    assert set(MEANINGS) == set(KINDS)


def test_counts_from_a_score_are_those_of_the_detections_from_it(tmp_path):
    generated_split(tmp_path, 60, 30, classes=5)
    names = ("background", *(f"class {k}" for k in range(5)))
    annotations, _ = read_coco(tmp_path / "truth.json", tmp_path, names)
    rows = np.load(tmp_path / "detections.npy")
    for least in (0.2, 0.5, 0.9):
        expected = counts(annotations, rows[rows[:, 5] >= least])
        assert counts(annotations, rows, least) == expected
        assert sum(expected.values()) > 50


def test_cost_of_one_error_alone():
    annotations = make_split([[(OBJECT, 0)], [(OBJECT, 0)]], classes=1)
    # half of the objects are found, by the second best detection
    rows = make_rows((0, (60, 60, 90, 90), 0, 0.9), (0, OBJECT, 0, 0.8))
    _, errors = kinds(annotations, rows)
    # 51 of the 101 recalls are reached, at precision 1/2
    assert errors.ap50 == pytest.approx(51 / 101 / 2)
    assert errors.cost["background"] == pytest.approx(51 / 101 / 2)  # precision becomes 1
    assert errors.cost["missed"] == pytest.approx(1 / 2 - 51 / 101 / 2)  # recall becomes 1
    assert errors.cost["class"] == errors.cost["localisation"] == errors.cost["both"] == 0


def test_a_wrong_class_costs_what_the_right_one_would_give():
    annotations = make_split([[(OBJECT, 0)], [(OBJECT, 1)]], classes=2)
    rows = make_rows((0, OBJECT, 0, 0.9), (1, OBJECT, 0, 0.8), (1, (0, 0, 40, 39), 0, 0.7))
    found, errors = kinds(annotations, rows)
    assert found == ["", "class", "class"]
    assert errors.ap50 == pytest.approx(0.5)
    assert errors.cost["class"] == pytest.approx(0.5)
    assert counts(annotations, rows)["missed"] == 0  # it would be found


def test_crowds_are_neither_found_nor_missed():
    annotations = make_split([[(OBJECT, 0), ((50, 50, 100, 100), 0, True)]], classes=1)
    rows = make_rows((0, OBJECT, 0, 0.5), (0, (60, 60, 70, 70), 0, 0.9))
    found, errors = kinds(annotations, rows)
    assert found == ["", ""]
    assert errors.ap50 == 1
    assert sum(counts(annotations, rows).values()) == 0


def test_nothing_detected():
    annotations = make_split([[(OBJECT, 0)], []], classes=1)
    _, errors = kinds(annotations, make_rows())
    assert counts(annotations, make_rows())["missed"] == 1
    assert errors.ap50 == 0


def test_no_object():
    annotations, rows = make_split([[]], classes=1), make_rows((0, OBJECT, 0, 0.9))
    _, errors = kinds(annotations, rows)
    assert counts(annotations, rows)["background"] == 1
    assert np.isnan(errors.ap50)


def test_equals_tidecv(tmp_path):
    generated_split(tmp_path, 60, 30, classes=5)
    names = ("background", *(f"class {k}" for k in range(5)))
    annotations, _ = read_coco(tmp_path / "truth.json", tmp_path, names)
    annotations.crowd[:] = False
    rows = np.load(tmp_path / "detections.npy")
    rows = rows[rows[:, 5] >= 0.4]
    _, errors = kinds(annotations, rows)
    # tidecv 1.0.1 on the same split and detections, crowds made objects
    assert errors.ap50 * 100 == pytest.approx(30.545616, abs=1e-6)
    assert counts(annotations, rows) == {
        "class": 37, "localisation": 147, "both": 18,
        "duplicate": 58, "background": 2, "missed": 100,
    }  # fmt: skip
    costs = [4.9775, 26.4632, 0.8832, 2.2454, 0.029, 11.1127]
    assert [errors.cost[kind] * 100 for kind in KINDS] == pytest.approx(costs, abs=1e-4)
