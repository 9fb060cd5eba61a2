"""Mosaics and repeats of rare classes: the same draws whatever the workers and ranks."""

from dataclasses import replace

import numpy as np
import pytest

from src.data.loader import steps_per_epoch
from tests.data.batches import FIELDS, assert_same, epoch_of, make_samples

MOSAIC = {"preset": "flip", "mosaic": 0.5, "hue": 0.1, "vertical_flip": 0.5, "quarter_turn": 0.5}


def test_mosaics_do_not_depend_on_workers_ranks_or_where_the_epoch_starts(small):
    samples = make_samples(small, **MOSAIC)
    assert samples.layout(2)["boxes"][0] == (2, 4 * samples.annotations.max_objects(), 4)
    whole = epoch_of(samples, 1, batch_size=4)
    assert_same(whole, epoch_of(samples, 1, batch_size=4, workers=2))
    assert_same(whole[2:4], epoch_of(samples, 1, batch_size=4, first=2, stop=4))
    parts = [epoch_of(samples, 1, batch_size=2, rank=rank, ranks=2) for rank in range(2)]
    for step, batch in enumerate(whole):
        joined = np.concatenate([part[step].images for part in parts])
        np.testing.assert_array_equal(joined, batch.images)
    assert_same(whole[:1], epoch_of(samples, 1, batch_size=4, stop=1))
    other = epoch_of(samples, 2, batch_size=4)
    assert (whole[0].images != other[0].images).any()


def test_mosaics_are_as_many_as_the_probability_says(small):
    objects = {}
    for mosaic in (0.0, 0.5, 1.0):
        samples = make_samples(small, preset="none", mosaic=mosaic)
        counts = [len(samples.sample(0, index, [])[1].boxes) for index in range(24)]
        objects[mosaic] = np.array(counts)
    changed = objects[0.5] != objects[0.0]
    assert 4 < changed.sum() < 20
    assert objects[1.0].sum() > 2 * objects[0.0].sum()


@pytest.fixture
def samples(small):
    return make_samples(small)


def test_repeats_lengthen_the_epoch_the_same_way_each_time(samples):
    plain = steps_per_epoch(samples.annotations, 4)
    more = replace(samples, repeat_threshold=1.0)
    length = len(more.order(0))
    assert length > 24
    assert steps_per_epoch(samples.annotations, 4, repeat_threshold=1.0) == length // 4 > plain
    whole = epoch_of(more, 1, batch_size=4)
    assert len(whole) == length // 4
    assert_same(whole, epoch_of(more, 1, batch_size=4, workers=2))
    assert_same(whole[3:], epoch_of(more, 1, batch_size=4, first=3))
    assert more.order(0).tolist() != more.order(1).tolist()


def test_repeated_mosaics_do_not_depend_on_workers_or_ranks(small):
    samples = replace(make_samples(small, **MOSAIC), repeat_threshold=1.0)
    whole = epoch_of(samples, 1, batch_size=6)
    assert len(whole) == len(samples.order(1)) // 6
    assert_same(whole, epoch_of(samples, 1, batch_size=6, workers=3))
    parts = [epoch_of(samples, 1, batch_size=2, rank=rank, ranks=3) for rank in range(3)]
    for step, batch in enumerate(whole):
        for field in FIELDS:
            joined = np.concatenate([getattr(part[step], field) for part in parts])
            np.testing.assert_array_equal(joined, getattr(batch, field))


def test_repeats_of_an_image_are_augmented_each_in_its_own_way(small):
    samples = replace(make_samples(small), repeat_threshold=1.0)
    images = len(samples.annotations)
    again = [number for number in samples.order(0).tolist() if number >= images]
    assert again
    for number in again:
        record, repeat = samples.sample(0, number, [])
        first, sample = samples.sample(0, number % images, [])
        assert record.image_id == first.image_id
        assert not np.array_equal(repeat.image, sample.image)


def test_repeats_count_where_images_are_fewer_than_a_batch(samples):
    length = len(replace(samples, repeat_threshold=1.0).order(0))
    assert steps_per_epoch(samples.annotations, length, repeat_threshold=1.0) == 1
