import numpy as np
import pytest

from src.config.configuration import make_config
from src.data.augmentation.presets import PRESETS, Augmentation, augment, build_augmentation
from tests.drawn_samples import assert_boxes_lie_on_pixels, drawn


def test_jitter_has_the_range_that_is_asked_for():
    setting, sides = Augmentation("jitter", jitter_scale=(0.8, 0.9)), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sample = augment(drawn(), setting, (90, 140), rng)
        assert len(sample.boxes) == 2  # nothing is cropped
        sides.append(sample.boxes[0, 2] - sample.boxes[0, 0])  # 40 in the image
    assert 32 <= min(sides) < 33 and 35 < max(sides) <= 36


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_deterministic_and_take_images_without_objects(preset, keep_aspect):
    setting = Augmentation(preset, keep_aspect=keep_aspect)
    for sample in (drawn(), drawn(boxes=())):
        before = sample.image.copy(), sample.boxes.copy()
        first, again, other = (
            augment(sample, setting, (64, 96), np.random.default_rng(seed)) for seed in (4, 4, 6)
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
def test_presets_keep_boxes_on_pixels(preset):
    # colours are left alone, since objects are found again by theirs
    setting = Augmentation(preset, colours=0.0)
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sample = augment(drawn(), setting, (128, 160), rng)
        kept += len(sample.boxes)
        # an expanded image shrinks to a few pixels an object
        assert_boxes_lie_on_pixels(sample, tolerance=1.5)
    assert kept > 30


EVERYTHING = {"flip": 1.0, "vertical_flip": 1.0, "quarter_turn": 1.0, "hue": 0.1}


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_all_steps_together_keep_boxes_on_pixels(preset, keep_aspect):
    setting = Augmentation(
        preset, keep_aspect=keep_aspect, **{**EVERYTHING, "hue": 0.0}, colours=0.0, max_expansion=2
    )
    kept = 0
    for seed in range(40):
        sample = augment(drawn(), setting, (192, 128), np.random.default_rng(seed))
        assert sample.image.shape == (192, 128, 3)
        kept += len(sample.boxes)
        assert_boxes_lie_on_pixels(sample, tolerance=1.6)
    assert kept > 30


def test_steps_that_are_off_draw_nothing():
    """The pixels of a preset are those of a version that had no other steps."""
    rng = np.random.default_rng(3)
    augment(drawn(), Augmentation("none"), (64, 64), rng)
    assert rng.random() == np.random.default_rng(3).random()
    rng = np.random.default_rng(3)
    augment(drawn(), Augmentation("flip"), (64, 64), rng)
    expected = np.random.default_rng(3)
    expected.random()
    assert rng.random() == expected.random()


def test_turn_and_flips_are_steps_of_any_preset():
    setting = Augmentation("none", vertical_flip=1.0)
    sample = augment(drawn(), setting, (90, 140), np.random.default_rng(0))
    assert sample.boxes.tolist() == [[20, 20, 60, 60], [90, 50, 130, 80]]
    always = Augmentation("flip", flip=1.0)
    sample = augment(drawn(), always, (90, 140), np.random.default_rng(0))
    assert sample.boxes[0].tolist() == [80, 30, 120, 70]
    never = Augmentation("flip", flip=0.0)
    assert augment(drawn(), never, (90, 140), np.random.default_rng(0)).boxes[0, 0] == 20


def test_configuration_gives_the_defaults_of_the_class():
    assert build_augmentation(make_config([])) == Augmentation()
    cfg = make_config([({
        "augmentation": "ssd_expand", "resize": "letterbox", "crop_scale": [0.5, 0.9],
        "max_expansion": 3, "jitter_scale": [0.7, 1.5], "flip_probability": 0.1,
        "colour_strength": 0.2, "hue_strength": 0.05, "vertical_flip_probability": 0.3,
        "rotate_probability": 0.4, "mosaic_probability": 0.6,
    }, "test")])  # fmt: skip
    assert build_augmentation(cfg) == Augmentation(
        "ssd_expand", True, (0.5, 0.9), 3.0, (0.7, 1.5), 0.1, 0.2, 0.05, 0.3, 0.4, 0.6
    )
