"""Sums over two ranks, simulated in one process, against NumPy."""

import mindspore as ms
import numpy as np
import pytest

from src.distributed.gradient_sum import ALIGNMENT, HostSum

SHAPES = [(3, 5), (7,), (2, 3, 4, 1)]


def parameters(shapes, rng, name):
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    return [ms.Parameter(ms.Tensor(a), name=f"{name}{i}") for i, a in enumerate(arrays)]


def make(rng, other, statistics=((4,), (4,))):
    """A sum whose other rank sends the arrays of `other`, in the layout of the flat buffer."""

    def add_up(flat):
        start = 0
        for array in other:
            flat[start : start + array.size] += array.ravel()
            start += -(-array.size // ALIGNMENT) * ALIGNMENT

    kept = parameters(statistics, rng, "statistic")
    weights = parameters(SHAPES, rng, "weight")
    return HostSum(weights, kept, 2, ranks=2, add_up=add_up), kept


def add_arrays(add, numbers, arrays, weight):
    """A call with arrays; (numbers as a list, sums)."""
    numbers = ms.Tensor(np.array(numbers, np.float32))
    found, sums = add(numbers, [ms.Tensor(a) for a in arrays], ms.Tensor(weight, ms.float32))
    return found.asnumpy().tolist(), sums


def gradients(rng):
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


def test_sums_and_means():
    rng = np.random.default_rng(0)
    own, theirs = gradients(rng), gradients(rng)
    statistics = [np.arange(4, dtype=np.float32), np.full(4, 5, np.float32)]
    # the other rank's message: numbers, its gradients by its weight, half its statistics
    other = [np.array([1, 10], np.float32), *(3 * g for g in theirs), *(s / 2 for s in statistics)]
    add, kept = make(rng, other)
    before = [p.asnumpy().copy() for p in kept]
    numbers, sums = add_arrays(add, [2.5, -4], own, 0.5)
    assert numbers == [3.5, 6]
    for found, a, b in zip(sums, own, theirs):
        np.testing.assert_allclose(found.asnumpy(), 0.5 * a + 3 * b, rtol=1e-6)
    for parameter, a, b in zip(kept, before, statistics):
        np.testing.assert_allclose(parameter.asnumpy(), (a + b) / 2, rtol=1e-6)


def test_next_call_starts_from_zero_and_copies_nothing_back():
    rng = np.random.default_rng(1)
    add, _ = make(rng, [np.zeros(2, np.float32), *(np.zeros(s, np.float32) for s in SHAPES)])
    for _ in range(2):
        own = gradients(rng)
        numbers, sums = add_arrays(add, [1, 2], own, 1.0)
        assert numbers == [1, 2]
        for found, expected in zip(sums, own):
            assert np.array_equal(found.asnumpy(), expected)
            assert np.shares_memory(found.asnumpy(), add.flat)


def test_parts_of_the_buffer_are_aligned():
    rng = np.random.default_rng(2)
    add, _ = make(rng, [])
    starts = [part.__array_interface__["data"][0] for part in (*add.gradients, *add.means)]
    first = add.flat.__array_interface__["data"][0]
    assert {(start - first) % (4 * ALIGNMENT) for start in starts} == {0}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_on_one_rank_is_nan_in_the_sum(value):
    rng = np.random.default_rng(3)
    bad = np.zeros(SHAPES[0], np.float32)
    bad[1, 2] = value
    add, _ = make(rng, [np.zeros(2, np.float32), bad], statistics=())
    _, sums = add_arrays(add, [0, 0], gradients(rng), 1.0)
    finite = [bool(np.isfinite(s.asnumpy()).all()) for s in sums]
    assert finite == [False, True, True]
