import numpy as np
import pytest

from src.data import transforms
from src.data.transforms import (
    Sample,
    augment,
    crop,
    flip,
    min_iou_crop,
    photometric,
    resize,
)
from tests.references import slow_iou


def drawn(height=90, width=140, boxes=((20, 30, 60, 70), (90, 10, 130, 40))):
    """A black image with one bright rectangle per box, of another colour each."""
    image = np.zeros((height, width, 3), np.uint8)
    for label, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2, label] = 255
    count = len(boxes)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(image, boxes, np.arange(count), np.zeros(count, bool))


def pixel_box(image, channel):
    """The box around what is bright in one channel."""
    y, x = np.nonzero(image[..., channel] > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def assert_boxes_lie_on_pixels(sample, tolerance=1.0):
    for box, label in zip(sample.boxes, sample.labels):
        np.testing.assert_allclose(box, pixel_box(sample.image, label), atol=tolerance)


def test_resize_stretches_image_and_boxes():
    sample = resize(drawn(), (180, 70))
    assert sample.image.shape == (180, 70, 3)
    np.testing.assert_allclose(sample.boxes[0], [10, 60, 30, 140])
    assert_boxes_lie_on_pixels(sample)


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


@pytest.mark.parametrize("min_overlap", [0.1, 0.5, 0.9])
def test_min_iou_crop_satisfies_the_drawn_overlap(monkeypatch, min_overlap):
    monkeypatch.setattr(transforms, "MIN_OVERLAPS", (min_overlap, 1.0))
    windows = []

    def record(sample, window):
        windows.append(window)
        return crop(sample, window)

    monkeypatch.setattr(transforms, "crop", record)
    original = drawn(boxes=((20, 10, 120, 80), (90, 10, 130, 40)))
    for seed in range(400):
        count = len(windows)
        sample = min_iou_crop(original, np.random.default_rng(seed))
        if len(windows) > count:
            window = windows[-1].tolist()
            # an object that stays overlaps the window as drawn
            kept = [original.boxes[label].tolist() for label in sample.labels]
            assert max(slow_iou(box, window) for box in kept) >= min_overlap
            assert 0.5 <= (window[2] - window[0]) / (window[3] - window[1]) <= 2
    assert len(windows) > 5


def test_min_iou_crop_keeps_boxes_on_pixels_and_never_loses_all():
    for seed in range(60):
        sample = min_iou_crop(drawn(), np.random.default_rng(seed))
        assert len(sample.boxes) >= 1
        assert_boxes_lie_on_pixels(sample, tolerance=0)


def test_photometric_changes_colours_alone():
    original = drawn()
    original.image[:] = np.maximum(original.image, 60)
    sample = photometric(original, np.random.default_rng(1))
    assert sample.image.dtype == np.uint8
    assert sample.boxes is original.boxes
    assert np.abs(sample.image.astype(int) - original.image).mean() > 2


def test_photometric_brightness_by_hand(monkeypatch):
    class Fixed:
        """Brightness 1.2, contrast 0.8 and saturation 1.3, in that order."""

        def permutation(self, count):
            return range(count)

        factors = iter([1.2, 0.8, 1.3])

        def uniform(self, low, high):
            return next(self.factors)

    image = np.array([[[100, 50, 20], [40, 80, 120]]], np.uint8)
    sample = Sample(image, np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, bool))
    bright = image * 1.2
    grey = bright.mean(axis=(0, 1)) @ [0.299, 0.587, 0.114]
    flat = bright * 0.8 + grey * 0.2
    luma = (flat @ [0.299, 0.587, 0.114])[..., None]
    expected = flat * 1.3 + luma * -0.3
    found = photometric(sample, Fixed()).image
    np.testing.assert_allclose(found, expected, atol=0.51)  # rounded to whole numbers


@pytest.mark.parametrize("preset", ["ssd", "flip", "none"])
def test_presets_are_deterministic_and_take_images_without_objects(preset):
    for sample in (drawn(), drawn(boxes=())):
        first, again, other = (
            augment(sample, preset, (64, 96), np.random.default_rng(seed)) for seed in (4, 4, 5)
        )
        assert first.image.shape == (64, 96, 3)
        assert first.boxes.dtype == np.float32
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.boxes, again.boxes)
        assert len(first.boxes) == len(first.labels) == len(first.crowd)
        if preset == "ssd" and len(sample.boxes):
            assert (first.image != other.image).any()
