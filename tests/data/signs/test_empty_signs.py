"""Signs of images that were probably not annotated."""

from dataclasses import replace

import numpy as np

from src.config.configuration import make_config
from src.data.signs.empty import mostly_empty, unannotated_block, unlike_empty
from src.data.signs.stages import between_signs
from tests.datasets import make_split

BOX = (1, 2, 30, 40)


def split(*has_object, names=None):
    """An image for each, with one object or none."""
    found = make_split([[(BOX, 0)] if has else [] for has in has_object], classes=1)
    return replace(found, file_names=np.array(names, np.bytes_)) if names else found


def test_the_last_images_by_name_are_empty():
    begun = [True] * 12 + [False] * 12
    sign = unannotated_block(split(*begun))
    assert (sign.name, sign.certain) == ("empty_images", False)
    assert sign.found == "12 of 24 images have no objects, all of them after 11.jpg"
    sign = unannotated_block(split(*begun[::-1]))
    assert sign.found.endswith("all of them before 12.jpg")
    assert sign.image_ids == tuple(range(1, 13))


def test_images_without_objects_here_and_there_are_sound():
    assert unannotated_block(split(*[True, False] * 12)) is None
    assert unannotated_block(split(*[True] * 4 + [False] * 12 + [True] * 4)) is None
    assert unannotated_block(split(*[False] * 24)) is None
    by_content = [f"owl{n}.jpg" for n in range(12)] + [f"sky{n}.jpg" for n in range(12)]
    assert unannotated_block(split(*[True] * 12 + [False] * 12, names=by_content)) is None


def test_one_split_has_far_more_empty_images():
    half, full, few = [True, False] * 20, [True] * 20, [True] * 9 + [False]
    sign = unlike_empty(split(*half), split(*full))
    assert sign.found == (
        "20 of 40 images to train on have no objects, 50%, 0% of those to evaluate on (1.jpg, "
        "3.jpg, 5.jpg and 17 more)"
    )
    sign = unlike_empty(split(*full), split(*half))
    assert sign.found.startswith("20 of 40 images to evaluate on have no objects, 50%, 0% of those")
    assert "or training lacks images without objects" in sign.cause
    assert unlike_empty(split(*half), split(*half)) is None
    assert unlike_empty(split(*full), split(*few)) is None
    assert unlike_empty(split(*half), split(True)) is None  # by chance
    assert unlike_empty(split(*full), split(*[False] * 20)) is None  # of which another sign tells


def test_empty_images_that_are_left_out_are_not_compared():
    def config(**keys):
        return make_config([({"classes": ["a"], **keys}, "test")])

    half, full = split(*[True, False] * 20), split(*[True] * 20)
    assert [sign.name for sign in between_signs(config(), half, full)] == ["empty_images"]
    assert between_signs(config(keep_empty=False), full, half) == ()
    assert between_signs(config(val_share=0.1), half, full) == ()


def test_most_images_of_the_only_split():
    sign = mostly_empty(split(*[False, False, False, True] * 10))
    assert sign.found.startswith("30 of 40 images to train on have no objects, 75% (0.jpg")
    assert mostly_empty(split(*[False, True] * 20)) is None
