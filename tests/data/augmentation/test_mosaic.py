import numpy as np
import pytest

from src.data.augmentation.mosaic import mosaic
from src.data.augmentation.presets import Augmentation, augment
from src.data.transforms import Sample
from tests.drawn_samples import assert_boxes_lie_on_pixels, drawn, no_objects

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def plain(colour, height=60, width=90):
    image = np.full((height, width, 3), colour, np.uint8)
    return Sample(image, *no_objects())


class Middle:
    """A generator whose every draw is in the middle of its range."""

    def uniform(self, low, high):
        return (low + high) / 2

    def random(self, size):
        return np.full(size, 0.5)


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_quarters_meet_at_the_point_that_is_drawn(keep_aspect):
    samples = [plain(colour) for colour in (RED, GREEN, BLUE, WHITE)]
    image = mosaic(samples, (80, 100), Middle(), keep_aspect=keep_aspect).image
    assert image.shape == (80, 100, 3)
    assert (image[:40, :50] == RED).all()
    assert (image[:40, 50:] == GREEN).all()
    assert (image[40:, :50] == BLUE).all()
    assert (image[40:, 50:] == WHITE).all()


def test_objects_lie_where_hand_arithmetic_puts_them():
    samples = [drawn(90, 140, boxes=((28, 18, 56, 54),)) for _ in range(4)]
    # an input of 180 x 280 in quarters of 90 x 140: each image keeps its size
    found = mosaic(samples, (180, 280), Middle(), keep_aspect=False)
    assert found.boxes.tolist() == [
        [28, 18, 56, 54], [168, 18, 196, 54], [28, 108, 56, 144], [168, 108, 196, 144],
    ]  # fmt: skip
    for x, y in ((0, 0), (140, 0), (0, 90), (140, 90)):
        np.testing.assert_array_equal(found.image[y : y + 90, x : x + 140], samples[0].image)


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_boxes_follow_their_pixels(keep_aspect):
    kept = 0
    for seed in range(60):
        # one image has the objects, so that each is found again by its colour
        samples = [drawn(), *(plain((0, 0, 0), *size) for size in ((40, 90), (300, 20), (1, 1)))]
        place = seed % 4
        samples[0], samples[place] = samples[place], samples[0]
        rng = np.random.default_rng(seed)
        found = mosaic(samples, (128, 160), rng, keep_aspect=keep_aspect)
        assert found.image.shape == (128, 160, 3)
        assert found.boxes.dtype == np.float32
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2:] <= [160, 128]).all()
        kept += len(found.boxes)
        assert_boxes_lie_on_pixels(found, tolerance=1.5)
    assert 60 < kept < 120  # of 120; some are cropped away


def test_labels_and_crowds_stay_with_their_boxes():
    samples = [drawn(90, 140, boxes=((28, 18, 56, 54),)) for _ in range(4)]
    for number, sample in enumerate(samples):
        sample.labels[:] = number + 5
        sample.crowd[:] = number == 2
    found = mosaic(samples, (180, 280), Middle(), keep_aspect=False)
    assert found.labels.tolist() == [5, 6, 7, 8]
    assert found.crowd.tolist() == [False, False, True, False]


def test_images_without_objects():
    found = mosaic([plain(RED)] * 4, (64, 64), np.random.default_rng(0), keep_aspect=True)
    assert found.boxes.shape == (0, 4)
    assert len(found.labels) == len(found.crowd) == 0


def test_extreme_shapes_take_no_extreme_memory():
    thin = plain(RED, 1, 40000)  # as a whole it would cover its quarter with 40,000 x 320 x 320
    found = mosaic([thin] * 4, (640, 640), np.random.default_rng(1), keep_aspect=True)
    assert (found.image == RED).all()


def test_meeting_points_are_spread_over_the_middle():
    points = []
    for seed in range(200):
        samples = [plain(colour) for colour in (RED, GREEN, BLUE, WHITE)]
        rng = np.random.default_rng(seed)
        image = mosaic(samples, (100, 100), rng, keep_aspect=False).image
        points.append([(image[0] == RED).all(axis=1).sum(), (image[:, 0] == RED).all(1).sum()])
    assert np.min(points, axis=0).tolist() == pytest.approx([30, 30], abs=3)
    assert np.max(points, axis=0).tolist() == pytest.approx([69, 69], abs=3)


def test_other_steps_apply_to_the_mosaic():
    samples = [drawn(90, 140, boxes=((28, 18, 56, 54),)) for _ in range(4)]
    setting = Augmentation("ssd", mosaic=1.0, colours=0.0, quarter_turn=1.0, vertical_flip=1.0)
    counts = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = augment(samples[0], setting, (96, 96), rng, samples[1:])
        assert found.image.shape == (96, 96, 3)
        counts.append(len(found.boxes))
    assert max(counts) == 4
