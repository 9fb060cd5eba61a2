import math
from pathlib import Path

import numpy as np
import pytest

from src.data.annotations import Annotations
from src.data.sampling import describe_repeats, images_per_epoch, repeat_factors, repeated


def split(*images, classes=4, crowds=()):
    """A split with an image for each tuple of labels; the objects numbered `crowds` are ignored."""
    labels = np.array([label for image in images for label in image], np.int32)
    boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (len(labels), 1))
    return Annotations(
        source=Path("split.json"),
        image_dir=Path(),
        file_names=np.array([f"{i}.png".encode() for i in range(len(images))]),
        image_ids=np.arange(len(images)),
        sizes=np.full((len(images), 2), 8, np.int32),
        offsets=np.cumsum([0, *map(len, images)]),
        boxes=boxes,
        labels=labels,
        crowd=np.isin(np.arange(len(labels)), crowds),
        category_ids=tuple(range(classes)),
    )


def random_split(seed):
    rng = np.random.default_rng(seed)
    chances = [0.9, 0.2, 0.03, 0.005]
    images = [[c for c in range(4) if rng.random() < chances[c]] * 2 for _ in range(400)]
    return split(*images), images


def slow_factors(images, threshold):
    """LVIS's factors with loops, after the paper."""
    share = {c: sum(c in image for image in images) / len(images) for c in range(4)}
    found = []
    for image in images:
        of_classes = [max(1.0, math.sqrt(threshold / share[c])) for c in image]
        found.append(max(of_classes, default=1.0))
    return found


def test_factors_by_hand():
    # class 0 is in all four images, class 1 in one of them, class 2 in two
    own = split((0,), (0, 0, 1), (0, 2), (0, 2, 2))
    assert repeat_factors(own, 1.0).tolist() == pytest.approx([1, 2, 2**0.5, 2**0.5], abs=1e-6)
    assert repeat_factors(own, 0.5).tolist() == pytest.approx([1, 2**0.5, 1, 1], abs=1e-6)
    assert repeat_factors(own, 0.25).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("threshold", [0.01, 0.1, 1.0])
def test_factors_are_those_of_the_paper(threshold):
    own, images = random_split(0)
    expected = slow_factors(images, threshold)
    assert repeat_factors(own, threshold).tolist() == pytest.approx(expected, abs=1e-6)


def test_ignored_regions_and_images_without_objects_are_not_repeated():
    own = split((0,), (0, 1), (), crowds=[2])
    assert repeat_factors(own, 0.5).tolist() == [1, 1, 1]
    assert repeat_factors(split((), ()), 1.0).tolist() == [1, 1]


def test_each_epoch_has_every_image_floor_or_ceil_times_and_the_mean_is_the_factor():
    own, images = random_split(1)
    factors = repeat_factors(own, 0.1)
    assert factors.max() > 3
    total, epochs = np.zeros(len(own)), 600
    for epoch in range(epochs):
        order = repeated(factors, np.random.default_rng(epoch))
        counts = np.bincount(order % len(own), minlength=len(own))
        assert len(order) == images_per_epoch(own, 0.1) == int(sum(slow_factors(images, 0.1)))
        assert (counts >= np.floor(factors)).all()
        assert (counts <= np.ceil(factors)).all()
        total += counts
    # an epoch has no place for the fraction of the sum, which all fractions lose alike
    whole, fractions = np.floor(factors), factors % 1
    expected = whole + fractions * int(fractions.sum()) / fractions.sum()
    # five standard deviations of a mean of draws with two outcomes
    np.testing.assert_allclose(total / epochs, expected, atol=5 * 0.5 / epochs**0.5)
    np.testing.assert_allclose(expected, factors, atol=0.1)


def test_without_rare_classes_an_epoch_is_a_permutation():
    order = repeated(np.ones(50), np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))


def test_repeats_of_an_image_are_spread_over_the_epoch():
    order = repeated(np.array([1.0] * 99 + [20.0]), np.random.default_rng(0))
    places = np.flatnonzero(order % 100 == 99)
    assert len(places) == 20
    assert places.min() < 20 and places.max() > 99
    assert sorted(order[places].tolist()) == list(range(99, 2000, 100))
    assert len(set(order.tolist())) == 119


def test_log_line():
    own = split((0,), (0, 0, 1), (0, 2), (0, 2, 2))
    assert describe_repeats(own, 1.0) == (
        "repeat_threshold 1: an epoch takes 5 images from 4, those "
        "of the rarest class 2.0 times each"
    )
