"""Signs of the pixels: few bits in sixteen, pictures of one colour."""

from dataclasses import replace

import cv2
import numpy as np

from src.data.signs.pixels import pixel_range
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


def test_few_bits_in_most_files(tmp_path):
    sign = pixel_range(*split(tmp_path, *[NARROW] * 6, *[WHOLE] * 5))
    assert (sign.name, sign.certain) == ("pixel_range", True)
    assert "6 of 11 images use less than 32 of 256 levels" in sign.found
    assert "their values are at most 4,095, so they probably fill 12 bits" in sign.cause


def test_some_dark_images_of_sixteen_bits(tmp_path):
    assert pixel_range(*split(tmp_path, *[NARROW] * 3, *[WHOLE] * 5)) is None


def test_some_dark_images_of_eight_bits(tmp_path):
    assert pixel_range(*split(tmp_path, *[NARROW] * 3, *[WHOLE] * 5, depth=np.uint8)) is None
