"""Signs of images that were probably not annotated."""

from dataclasses import replace

import numpy as np

from src.data.signs.empty import empty_images
from tests.datasets import make_split

BOX = (1, 2, 30, 40)


def split(*has_object, names=None):
    """An image for each, with one object or none."""
    found = make_split([[(BOX, 0)] if has else [] for has in has_object], classes=1)
    return replace(found, file_names=np.array(names, np.bytes_)) if names else found


def test_the_last_images_by_name_are_empty():
    begun = [True] * 12 + [False] * 12
    sign = empty_images(split(*begun))
    assert (sign.name, sign.certain) == ("empty_images", False)
    assert sign.found == "12 of 24 images to train on have no objects, all of them after 11.jpg"
    sign = empty_images(split(*begun[::-1]))
    assert sign.found.endswith("all of them before 12.jpg")
    assert sign.image_ids == tuple(range(1, 13))


def test_images_without_objects_here_and_there_are_sound():
    assert empty_images(split(*[True, False] * 12)) is None
    assert empty_images(split(*[True] * 4 + [False] * 12 + [True] * 4)) is None
    assert empty_images(split(*[False] * 24)) is None
    by_content = [f"owl{n}.jpg" for n in range(12)] + [f"sky{n}.jpg" for n in range(12)]
    assert empty_images(split(*[True] * 12 + [False] * 12, names=by_content)) is None


def test_most_images_are_empty():
    sign = empty_images(split(*[False, False, False, True] * 10))
    assert sign.found == (
        "30 of 40 images to train on have no objects (0.jpg, 1.jpg, 2.jpg and 27 more)"
    )
