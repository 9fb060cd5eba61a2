"""The choice of candidates against sorting everything."""

import numpy as np
import pytest

from src.detection.select import best_of_levels, best_predictions, largest
from src.runtime.errors import NotFinite


def slow_best(values, least, limit):
    """The same by sorting all predictions, ties by anchor and label."""
    rows = [
        (-float(value), anchor, label)
        for anchor, row in enumerate(values)
        for label, value in enumerate(row)
        if value > least
    ]
    rows.sort()
    rows = rows[:limit] if limit else rows
    return [r[1] for r in rows], [r[2] for r in rows], [-r[0] for r in rows]


def assert_same(values, least, limit):
    found = best_predictions(values, least, limit)
    for mine, expected in zip(found, slow_best(values, least, limit)):
        assert mine.tolist() == expected


@pytest.mark.parametrize("limit", [0, 1, 50, 10_000])
@pytest.mark.parametrize("least", [-np.inf, 0.0, 5.0])
def test_equals_sorting(limit, least):
    values = np.random.default_rng(1).normal(0, 1.5, (300, 7)).astype(np.float32)
    assert_same(values, least, limit)


@pytest.mark.parametrize("limit", [1, 3, 40, 200])
def test_ties_go_to_the_first(limit):
    # a few distinct values, so that many tie with the last one that is taken
    values = np.random.default_rng(limit).integers(0, 4, (100, 5)).astype(np.float32)
    assert_same(values, 0.5, limit)
    assert_same(np.full((100, 5), 2, np.float32), 0.5, limit)


def test_one_default_box_can_hold_all_of_them():
    values = np.full((60, 5), -1, np.float32)
    values[7] = [3, 9, 4, 5, 8]
    values[2, 1] = 6
    assert_same(values, -2, 5)


LEVELS = (48, 12, 4, 1)


@pytest.mark.parametrize("limit", [1, 7, 1000])
@pytest.mark.parametrize("tied", [False, True])
def test_the_best_of_each_level_in_one_order(limit, tied):
    rng = np.random.default_rng(limit)
    values = rng.normal(0, 2, (sum(LEVELS), 3)).astype(np.float32)
    if tied:
        values = np.round(values)
    expected, first = [], 0
    for count in LEVELS:
        rows = slow_best(values[first : first + count], -1, limit)
        expected += [(-value, first + anchor, label) for anchor, label, value in zip(*rows)]
        first += count
    expected.sort()
    anchor, label, value = best_of_levels(values, -1, limit, LEVELS)
    found = list(zip((-value).tolist(), anchor.tolist(), label.tolist()))
    assert found == expected
    assert len(found) > len(LEVELS) if limit > 1 else len(found) <= len(LEVELS)


def test_one_level_is_all_of_them():
    values = np.random.default_rng(3).integers(0, 9, (40, 3)).astype(np.float32)
    for mine, expected in zip(best_of_levels(values, 2, 30, [40]), best_predictions(values, 2, 30)):
        assert mine.tolist() == expected.tolist()


def test_infinite_values_count_and_nan_is_refused():
    values = np.zeros((4, 3), np.float32)
    values[1, 2], values[3, 0] = np.inf, -np.inf
    anchor, label, value = best_predictions(values, 0.0, 10)
    assert (anchor.tolist(), label.tolist(), value.tolist()) == ([1], [2], [np.inf])
    values[2, 1] = np.nan
    with pytest.raises(NotFinite, match="nan"):
        best_predictions(values, 0.0, 10)


def test_nothing_above():
    for found in best_predictions(np.full((4, 3), -9.0), 0.0, 10):
        assert len(found) == 0


def test_largest():
    assert largest(np.array([5, 1, 5, 5, 2]), 2).tolist() == [0, 2]
    assert largest(np.array([5, 1, 6, 5, 2]), 2).tolist() == [0, 2]
    assert largest(np.array([1, 2]), 0).tolist() == largest(np.array([1, 2]), 9).tolist() == [0, 1]
