"""Signs of the pixels: few bits in sixteen, pictures of one colour."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from src.data.signs.pixels import flat_images, pixel_range
from tests.datasets import make_split

BOX = (1, 2, 30, 40)
WHOLE, NARROW, BLACK = (0, 250), (0, 15), (0, 0)


def split(tmp_path, *kinds, depth=np.uint16):
    """Images with an object each, in files of `depth` with values up to each kind's."""
    for number, (_, greatest) in enumerate(kinds):
        pixels = np.linspace(0, greatest * 256 + 255, 12).reshape(3, 4)
        pixels = pixels.astype(np.uint16) if depth == np.uint16 else (pixels // 256).astype(depth)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    found = make_split([[(BOX, 0)]] * len(kinds), classes=1)
    names = np.array([f"{n}.png" for n in range(len(kinds))], np.bytes_)
    return replace(found, image_dir=tmp_path, file_names=names), np.array(kinds)


@pytest.mark.parametrize(("narrow", "certain"), [(3, False), (6, True)])
def test_few_bits_in_a_part_of_the_files(tmp_path, narrow, certain):
    sign = pixel_range(*split(tmp_path, *[NARROW] * narrow, *[WHOLE] * 5))
    assert (sign.name, sign.certain) == ("pixel_range", certain)
    assert f"{narrow} of {narrow + 5} images use less than 32 of 256 levels" in sign.found
    assert "their values are at most 4,095, so they probably fill 12 bits" in sign.cause


@pytest.mark.parametrize(
    "kinds",
    [[NARROW] * 2 + [WHOLE] * 5, [NARROW] * 3 + [(0, 50)] + [WHOLE] * 5, [BLACK] * 3 + [WHOLE] * 5],
)
def test_some_dark_images_of_sixteen_bits(tmp_path, kinds):
    assert pixel_range(*split(tmp_path, *kinds, *[WHOLE] * 5)) is None


def test_some_dark_images_of_eight_bits(tmp_path):
    assert pixel_range(*split(tmp_path, *[NARROW] * 3, *[WHOLE] * 5, depth=np.uint8)) is None


def test_pictures_of_one_colour(tmp_path):
    sign = flat_images(*split(tmp_path, BLACK, *[WHOLE] * 5, depth=np.uint8))
    assert (sign.name, sign.certain, sign.image_ids) == ("flat_images", True, (1,))
    assert sign.found == "1 of 6 images with objects are of one colour (0.png)"
    annotations, levels = split(tmp_path, BLACK, *[WHOLE] * 120, depth=np.uint8)
    assert not flat_images(annotations, levels).certain
    assert flat_images(replace(annotations, crowd=~annotations.crowd), levels) is None
