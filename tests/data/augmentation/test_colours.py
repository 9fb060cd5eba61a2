import colorsys

import numpy as np
import pytest

from src.data.augmentation.colours import hue_turn, photometric
from src.data.transforms import Sample
from tests.drawn_samples import drawn, no_objects


def test_photometric_changes_colours_alone():
    original = drawn()
    original.image[:] = np.maximum(original.image, 60)
    sample = photometric(original, np.random.default_rng(1), strength=0.4)
    assert sample.image.dtype == np.uint8
    assert sample.boxes is original.boxes
    assert np.abs(sample.image.astype(int) - original.image).mean() > 2


def test_photometric_brightness_by_hand():
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
    found = photometric(sample, Fixed(), strength=0.4).image
    np.testing.assert_allclose(found, expected, atol=0.51)  # rounded to whole numbers


def test_photometric_clips_and_stays_within_its_range():
    original = Sample(np.full((8, 8, 3), (250, 120, 4), np.uint8), *no_objects())
    found = [
        photometric(original, np.random.default_rng(seed), strength=0.4).image
        for seed in range(200)
    ]
    reds = np.array([image[0, 0, 0] for image in found])
    assert reds.max() == 255  # and did not wrap around
    assert reds.min() >= 250 * 0.6 * 0.6 - 60
    assert len({image[0, 0].tobytes() for image in found}) > 150


class NoDraws:
    """A generator that may not be asked."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was drawn")


class Turn:
    """A generator that turns the hue by a quarter of what is allowed."""

    def uniform(self, low, high):
        assert low == -high
        return high / 4


def test_nothing_is_drawn_or_changed_without_strength():
    sample = drawn()
    assert photometric(sample, NoDraws(), strength=0) is sample


def test_hue_of_a_third_of_a_turn_changes_red_to_green_and_green_to_blue():
    # literal values of the rotation in YIQ; a pure colour leaves the cube and is clipped
    image = np.array([[[140, 100, 100], [100, 140, 100], [100, 100, 140], [77, 77, 77]]], np.uint8)
    sample = Sample(image, *no_objects())
    found = photometric(sample, Turn(), strength=0, hue=4 / 3).image[0].astype(int)
    hues = [colorsys.rgb_to_hsv(*pixel)[0] for pixel in found.tolist()]
    assert found[:3].argmax(axis=1).tolist() == [1, 2, 0]
    assert hues[:2] == pytest.approx([1 / 3, 2 / 3], abs=0.1)
    assert abs((hues[2] + 0.5) % 1 - 0.5) < 0.1
    assert found[3].tolist() == [77, 77, 77]  # grey has no hue
    luma = found @ [0.299, 0.587, 0.114]
    assert luma == pytest.approx(image[0] @ [0.299, 0.587, 0.114], abs=1)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.02, 0.25])
def test_hue_turns_the_plane_of_colour_of_the_standard_library(turn):
    for red, green, blue in np.random.default_rng(0).uniform(0.35, 0.65, (50, 3)):
        luma, i, q = colorsys.rgb_to_yiq(red, green, blue)
        turned = complex(i, q) * np.exp(-2j * np.pi * turn)
        expected = colorsys.yiq_to_rgb(luma, turned.real, turned.imag)
        assert hue_turn(turn) @ [red, green, blue] == pytest.approx(expected, abs=0.01)


def test_hues_are_drawn_from_both_sides_up_to_the_limit():
    image = np.full((4, 4, 3), (160, 90, 60), np.uint8)
    hues = []
    for seed in range(300):
        sample = Sample(image, *no_objects())
        rng = np.random.default_rng(seed)
        pixel = photometric(sample, rng, strength=0, hue=0.1).image[0, 0]
        hues.append((colorsys.rgb_to_hsv(*pixel.tolist())[0] + 0.5) % 1 - 0.5)
    own = colorsys.rgb_to_hsv(160, 90, 60)[0]
    assert min(hues) == pytest.approx(own - 0.1, abs=0.04)
    assert max(hues) == pytest.approx(own + 0.1, abs=0.04)
