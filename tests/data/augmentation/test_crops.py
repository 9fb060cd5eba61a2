import numpy as np
import pytest

from src.data.augmentation import crops
from src.data.augmentation.crops import min_iou_crop
from src.data.transforms import crop
from tests.drawn_samples import assert_boxes_lie_on_pixels, drawn
from tests.references import slow_iou


@pytest.mark.parametrize("min_overlap", [0.1, 0.5, 0.9])
def test_min_iou_crop_satisfies_the_drawn_overlap(monkeypatch, min_overlap):
    monkeypatch.setattr(crops, "MIN_OVERLAPS", (min_overlap, 1.0))
    windows = []

    def record(sample, window):
        windows.append(window)
        return crop(sample, window)

    monkeypatch.setattr(crops, "crop", record)
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


def test_min_iou_crop_keeps_the_share_that_is_asked_for():
    shares = []
    for seed in range(60):
        sample = min_iou_crop(drawn(), np.random.default_rng(seed), (0.7, 0.8))
        height, width = sample.image.shape[:2]
        if (height, width) != (90, 140):
            shares += [height / 90, width / 140]
    assert len(shares) > 20
    assert 0.68 <= min(shares) < 0.72  # sides are whole pixels
    assert 0.78 < max(shares) <= 0.8
