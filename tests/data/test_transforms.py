from functools import partial

import numpy as np
import pytest

from src.data import transforms
from src.data.transforms import (
    FILL,
    Sample,
    crop,
    expand,
    fit,
    fit_image,
    flip,
    quarter_turn,
    scale_jitter,
)
from tests.drawn_samples import assert_boxes_lie_on_pixels, drawn, no_objects


def test_fit_stretches_image_and_boxes():
    sample = fit(drawn(), (180, 70), keep_aspect=False)
    assert sample.image.shape == (180, 70, 3)
    np.testing.assert_allclose(sample.boxes[0], [10, 60, 30, 140])
    assert_boxes_lie_on_pixels(sample)


@pytest.mark.parametrize(
    ("image_size", "box", "margin"),
    [
        ((180, 400), [40, 60, 120, 140], (slice(None), slice(280, None))),
        ((300, 280), [40, 60, 120, 140], (slice(180, None), slice(None))),
        ((45, 70), [10, 15, 30, 35], (slice(0), slice(0))),
    ],
)
def test_letterbox_keeps_the_aspect_and_fills_the_margin(image_size, box, margin):
    sample = fit(drawn(), image_size, keep_aspect=True)
    assert sample.image.shape == (*image_size, 3)
    assert sample.boxes[0].tolist() == box
    assert (sample.image[margin] == FILL).all()
    filled = (sample.image == FILL).all(axis=2)
    assert filled.sum() == filled[margin].size
    assert_boxes_lie_on_pixels(sample)


def test_fit_image_of_extreme_shapes():
    for shape in ((1, 5000, 3), (5000, 1, 3), (1, 1, 3)):
        fitted, scale = fit_image(np.zeros(shape, np.uint8), (64, 96), keep_aspect=True)
        assert fitted.shape == (64, 96, 3)
        sides = scale * [shape[1], shape[0]]
        assert (sides >= 0.999).all() and (sides <= [96.001, 64.001]).all()


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_scale_jitter_keeps_boxes_on_pixels(keep_aspect):
    factors, dropped = [], 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        sample = scale_jitter(drawn(), (128, 160), rng, keep_aspect=keep_aspect, scales=(0.5, 2))
        assert sample.image.shape == (128, 160, 3)
        dropped += 2 - len(sample.boxes)
        assert_boxes_lie_on_pixels(sample)
        inside = (sample.boxes[:, :2] > 0).all() and (sample.boxes[:, 2:] < [160, 128]).all()
        if inside and len(sample.boxes) == 2:
            width, height = (sample.boxes[0, 2:] - sample.boxes[0, :2]).tolist()
            # the object is 40 x 40 in an image of 140 x 90
            factors.append(width / 40 * 140 / 160)
            ratio = 1 if keep_aspect else (160 / 140) / (128 / 90)
            assert width / height == pytest.approx(ratio, rel=0.02)
    assert dropped > 10  # of 160: enlarged images are cropped
    assert 0.49 < min(factors) < 0.7
    assert 1.1 < max(factors) < 2.01


def test_scale_jitter_fills_around_a_smaller_image():
    rng = np.random.default_rng(3)
    sample = scale_jitter(drawn(), (90, 140), rng, keep_aspect=False, scales=(0.5, 0.5))
    image = (sample.image != FILL).any(axis=2)
    assert image.sum() == pytest.approx(45 * 70, rel=0.05)


def test_scale_jitter_is_the_same_map_as_fit():
    sample = Sample(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8), *no_objects())
    rng = np.random.default_rng(0)
    jittered = scale_jitter(sample, (96, 128), rng, keep_aspect=False, scales=(1, 1))
    fitted = fit(sample, (96, 128), keep_aspect=False)
    # away from the edge, where one fills and the other repeats pixels
    difference = jittered.image[2:-2, 2:-2].astype(int) - fitted.image[2:-2, 2:-2]
    assert np.abs(difference).max() <= 3


def test_expand_puts_the_image_on_a_larger_canvas():
    expanded = []
    for seed in range(60):
        sample = expand(drawn(), np.random.default_rng(seed))
        assert_boxes_lie_on_pixels(sample, tolerance=0)
        if sample.image.shape != (90, 140, 3):
            expanded.append(sample)
            np.testing.assert_array_equal(sample.boxes[0, 2:] - sample.boxes[0, :2], [40, 40])
    assert 15 < len(expanded) < 45
    ratios = [sample.image.shape[0] / 90 for sample in expanded]
    assert min(ratios) < 1.6
    assert 3.4 < max(ratios) <= 4
    outside = expanded[0].image.copy()
    x, y = (expanded[0].boxes[0, :2] - [20, 30]).astype(int)
    outside[y : y + 90, x : x + 140] = FILL
    assert (outside == FILL).all()


def test_flip_mirrors_half_of_the_images():
    original = drawn()
    flipped = [flip(original, np.random.default_rng(seed)) for seed in range(40)]
    mirrored = [s for s in flipped if s.boxes[0, 0] != 20]
    assert 10 < len(mirrored) < 30
    assert mirrored[0].boxes[0].tolist() == [80, 30, 120, 70]
    for sample in flipped:
        assert_boxes_lie_on_pixels(sample, tolerance=0)


def test_crop_keeps_objects_by_their_centre_and_clips_them():
    sample = crop(drawn(), np.array([30, 0, 100, 60], np.float32))
    assert sample.image.shape == (60, 70, 3)
    assert sample.boxes.tolist() == [[0, 30, 30, 60]]  # the other's centre is outside
    assert_boxes_lie_on_pixels(sample, tolerance=0)


def test_crop_keeps_a_crowd_region_wherever_it_shows():
    original = drawn()
    crowd = Sample(original.image, original.boxes, original.labels, np.array([False, True]))
    sample = crop(crowd, np.array([30, 0, 100, 60], np.float32))
    assert sample.boxes.tolist() == [[0, 30, 30, 60], [60, 10, 70, 40]]
    assert sample.crowd.tolist() == [False, True]


def test_vertical_flip_mirrors_top_and_bottom():
    original = drawn()
    flipped = [flip(original, np.random.default_rng(seed), 0.3, axis=1) for seed in range(100)]
    mirrored = [s for s in flipped if s is not original]
    assert 15 < len(mirrored) < 45
    assert mirrored[0].boxes.tolist() == [[20, 20, 60, 60], [90, 50, 130, 80]]
    for sample in mirrored:
        assert_boxes_lie_on_pixels(sample, tolerance=0)


def test_quarter_turn_gives_all_three_angles():
    original = drawn()
    turned = [quarter_turn(original, np.random.default_rng(seed), 0.6) for seed in range(150)]
    turned = [sample for sample in turned if sample is not original]
    assert 65 < len(turned) < 115
    by_hand = {
        (20, 20, 60, 60): (140, 90),  # by 90 degrees clockwise: x is 90 - y, y is x
        (80, 20, 120, 60): (90, 140),
        (30, 80, 70, 120): (140, 90),
    }
    counts = dict.fromkeys(by_hand, 0)
    for sample in turned:
        box = tuple(sample.boxes[0].tolist())
        assert sample.image.shape[:2] == by_hand[box]
        assert sample.boxes.dtype == np.float32
        counts[box] += 1
        assert_boxes_lie_on_pixels(sample, tolerance=0)
    assert min(counts.values()) > 15


@pytest.mark.parametrize("step", [flip, partial(flip, axis=1), quarter_turn])
def test_flips_and_turns_of_images_without_objects_and_of_crowds(step):
    empty = step(Sample(drawn().image, *no_objects()), np.random.default_rng(0), 1.0)
    assert empty.boxes.shape == (0, 4)
    original = drawn()
    crowd = Sample(original.image, original.boxes, original.labels, np.array([False, True]))
    found = step(crowd, np.random.default_rng(0), 1.0)
    assert found.crowd.tolist() == [False, True]
    assert_boxes_lie_on_pixels(found, tolerance=0)


@pytest.mark.parametrize("step", [flip, partial(flip, axis=1), quarter_turn])
def test_probability_zero_draws_nothing(step):
    rng, original = np.random.default_rng(5), drawn()
    assert step(original, rng, 0.0) is original
    assert rng.random() == np.random.default_rng(5).random()


def test_expansion_has_the_range_that_is_asked_for():
    ratios = []
    for seed in range(80):
        sample = expand(drawn(), np.random.default_rng(seed), 1.5)
        ratios.append(sample.image.shape[1] / 140)
    assert min(ratios) == 1
    assert 1.4 < max(ratios) <= 1.5
    assert expand(drawn(), np.random.default_rng(0), 1.0).image.shape == (90, 140, 3)


def test_expansion_of_a_huge_image_reduces_it_first(monkeypatch):
    monkeypatch.setattr(transforms, "MAX_CANVAS", 100 * 140)
    whole, small = [], []
    for seed in range(40):
        sample = expand(drawn(), np.random.default_rng(seed))
        height, width = sample.image.shape[:2]
        assert height * width <= 100 * 140
        assert_boxes_lie_on_pixels(sample)
        side = sample.boxes[0, 2] - sample.boxes[0, 0]  # 40 in the image
        (whole if (height, width) == (90, 140) else small).append(side)
        # the same share of the canvas as without a limit, up to whole pixels
        monkeypatch.undo()
        unlimited = expand(drawn(), np.random.default_rng(seed))
        monkeypatch.setattr(transforms, "MAX_CANVAS", 100 * 140)
        share = (unlimited.boxes[0, 2] - unlimited.boxes[0, 0]) / unlimited.image.shape[1]
        assert side / width == pytest.approx(share, abs=0.02)
    assert set(whole) == {40}
    assert min(small) < 15


def test_full_hd_is_expanded_in_its_own_pixels():
    image = np.zeros((1080, 1920, 3), np.uint8)
    sample = Sample(image, np.array([[0, 0, 100, 100]], np.float32), np.zeros(1, int), [False])
    sides = set()
    for seed in range(12):
        found = expand(sample, np.random.default_rng(seed))
        sides.add(float(found.boxes[0, 2] - found.boxes[0, 0]))
    assert sides == {100.0}


def test_jitter_of_an_image_wider_than_opencv_can_warp():
    image = np.zeros((20, 40000, 3), np.uint8)
    image[5:15, 10000:30000, 0] = 255
    boxes = np.array([[10000, 5, 30000, 15]], np.float32)
    sample = Sample(image, boxes, np.zeros(1, int), np.zeros(1, bool))
    rng = np.random.default_rng(0)
    found = scale_jitter(sample, (128, 160), rng, keep_aspect=False, scales=(0.9, 0.9))
    assert found.boxes[0, 2] - found.boxes[0, 0] == pytest.approx(72)  # half of 0.9 x 160
    assert_boxes_lie_on_pixels(found)
