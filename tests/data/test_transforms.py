import numpy as np
import pytest

from src.data import transforms
from src.data.transforms import (
    FILL,
    PRESETS,
    Sample,
    augment,
    crop,
    expand,
    fit,
    fit_image,
    flip,
    min_iou_crop,
    photometric,
    scale_jitter,
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


def no_objects():
    """Boxes, labels and crowd of an image without any."""
    return np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, bool)


def pixel_box(image, channel):
    """The box around what is bright in one channel."""
    y, x = np.nonzero(image[..., channel] > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def assert_boxes_lie_on_pixels(sample, tolerance=1.0):
    """Every box is where its object is, up to the blur of resizing."""
    for box, label in zip(sample.boxes, sample.labels):
        np.testing.assert_allclose(box, pixel_box(sample.image, label), atol=tolerance)


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


def test_jitter_has_the_range_that_is_asked_for():
    sides = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sample = augment(drawn(), "jitter", (90, 140), rng, jitter_scale=(0.8, 0.9))
        assert len(sample.boxes) == 2  # nothing is cropped
        sides.append(sample.boxes[0, 2] - sample.boxes[0, 0])  # 40 in the image
    assert 32 <= min(sides) < 33 and 35 < max(sides) <= 36


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
    sample = Sample(image, *no_objects())
    bright = image * 1.2
    grey = bright.mean(axis=(0, 1)) @ [0.299, 0.587, 0.114]
    flat = bright * 0.8 + grey * 0.2
    luma = (flat @ [0.299, 0.587, 0.114])[..., None]
    expected = flat * 1.3 + luma * -0.3
    found = photometric(sample, Fixed()).image
    np.testing.assert_allclose(found, expected, atol=0.51)  # rounded to whole numbers


def test_photometric_clips_and_stays_within_its_range():
    original = Sample(np.full((8, 8, 3), (250, 120, 4), np.uint8), *no_objects())
    found = [photometric(original, np.random.default_rng(seed)).image for seed in range(200)]
    reds = np.array([image[0, 0, 0] for image in found])
    assert reds.max() == 255  # and did not wrap around
    assert reds.min() >= 250 * 0.6 * 0.6 - 60
    assert len({image[0, 0].tobytes() for image in found}) > 150


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_deterministic_and_take_images_without_objects(preset, keep_aspect):
    for sample in (drawn(), drawn(boxes=())):
        before = sample.image.copy(), sample.boxes.copy()
        first, again, other = (
            augment(sample, preset, (64, 96), np.random.default_rng(seed), keep_aspect=keep_aspect)
            for seed in (4, 4, 6)
        )
        assert first.image.shape == (64, 96, 3)
        assert first.image.flags.c_contiguous
        assert first.boxes.dtype == np.float32
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.boxes, again.boxes)
        assert len(first.boxes) == len(first.labels) == len(first.crowd)
        if preset not in ("none", "flip") and len(sample.boxes):
            assert (first.image != other.image).any()
        np.testing.assert_array_equal(sample.image, before[0])  # the original is not touched
        np.testing.assert_array_equal(sample.boxes, before[1])


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_keep_boxes_on_pixels(preset, monkeypatch):
    # colours are left alone, since objects are found again by theirs
    monkeypatch.setattr(transforms, "COLOUR_CHANGE", 0.0)
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sample = augment(drawn(), preset, (128, 160), rng)
        kept += len(sample.boxes)
        # an expanded image shrinks to a few pixels an object
        assert_boxes_lie_on_pixels(sample, tolerance=1.5)
    assert kept > 30
