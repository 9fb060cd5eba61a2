"""Signs of COCO's files that contradict themselves, and of VOC's that name other images."""

import numpy as np
import pytest

from src.data.signs.areas import sound_areas
from src.data.signs.split import other_names
from tests.data.coco_files import annotation, image, read, write
from tests.datasets import make_split

OUTLINE = (6, 4, 26, 24)  # the corners of each object's


def with_outlines(tmp_path, corners, number=12, outline=OUTLINE):
    """The signs of COCO's file whose boxes have these corners."""
    x1, y1, x2, y2 = outline
    x, y, right, below = corners
    ring = [x1, y1, x2, y1, x2, y2, x1, y2]
    box = [x, y, right - x, below - y]
    entries = [
        annotation(n, n, 5, box, area=box[2] * box[3], segmentation=[ring])
        for n in range(1, number + 1)
    ]
    found = read(*write(tmp_path, [image(n) for n in range(1, number + 1)], entries))
    return [sign for sign in found.signs if sign.name != "equal_boxes"]


@pytest.mark.parametrize(
    ("corners", "cause"),
    [
        ((12, 5, 32, 25), "boxes being moved by +6 and +1 pixels in x and y"),
        ((3, 2, 13, 12), "boxes being 0.5 times as large"),
    ],
)
def test_boxes_that_are_beside_their_outlines(tmp_path, corners, cause):
    sign = with_outlines(tmp_path, corners)[0]
    assert (sign.name, sign.certain) == ("outlines", False)
    assert sign.found.startswith("12 of 12 boxes looked at do not bound the outline")
    assert "(annotation 1: corners " in sign.found
    assert "of the segmentation 6, 4, 26, 24)" in sign.found
    assert cause in sign.cause


def test_boxes_that_bound_their_outlines_or_what_is_hidden_too(tmp_path):
    assert with_outlines(tmp_path, OUTLINE) == []
    assert with_outlines(tmp_path, (5, 3, 27.5, 25)) == []
    assert with_outlines(tmp_path, (6, 4, 36, 27)) == []  # IoU 0.58, around it
    assert with_outlines(tmp_path, (12, 5, 32, 25), number=9) == []
    assert with_outlines(tmp_path, (12, 5, 32, 25), outline=(7, 7, 7, 7)) == []


def test_areas_that_cannot_be_are_of_the_box():
    split = make_split(
        [[((10, 10, 30, 20), 0), ((0, 0, 50, 50), 0), ((5, 5, 25, 25), 0)]], classes=1
    )
    objects = split.objects()
    sound = objects.copy()
    sound["area"] = [150, 2500, 1]
    areas, sign = sound_areas(sound[:2], np.full(2, 1e4), [1, 2])
    assert areas.tolist() == [150, 2500]
    assert sign is None
    objects["area"] = [2000, 0, 0.5]  # larger than the box, none, a share
    areas, sign = sound_areas(objects, np.full(3, 1e4), [1, 2, 3])
    assert areas.tolist() == [200, 2500, 400]
    assert (sign.name, sign.certain) == ("areas", False)
    assert sign.found.startswith("3 of 3 objects have an area")
    assert "annotation 1: area 2000, box 200" in sign.found


def objects(areas, side=20):
    """Objects of `side` x `side` pixels with these areas."""
    found = make_split([[((10, 10, 10 + side, 10 + side), 0)] * len(areas)], classes=1).objects()
    found["area"] = areas
    return found


def test_areas_that_contradict_most_boxes():
    found = objects([626, 625, 630, 625, 620, 625])
    areas, sign = sound_areas(found, np.full(6, 1e4), [1, 2, 3, 4, 5, 6])
    assert sign.name == "areas"  # one number for all is a tool's
    found["box"][:, 2] = [20, 30, 40, 10, 50, 60]
    found["area"] = found["box"][:, 2:].prod(axis=1) * 1.5625
    areas, sign = sound_areas(found, np.full(6, 1e4), [1, 2, 3, 4, 5, 6])
    assert (sign.name, sign.certain) == ("box_areas", False)
    assert (
        "6 of 6 objects have an area larger than their box (annotation 1: area 625, box 400)"
        in (sign.found)
    )
    assert "each area is 1.56 times its box" in sign.cause
    assert areas.tolist() == [400, 600, 800, 200, 1000, 1200]
    found["area"][2:] = [800, 200, 1000, 1200]
    assert sound_areas(found, np.full(6, 1e4), [1, 2, 3, 4, 5, 6])[1].name == "areas"
    found["area"] = 1e4  # the images'
    assert sound_areas(found, np.full(6, 1e4), [1, 2, 3, 4, 5, 6])[1].name == "areas"


def test_annotations_that_name_other_images():
    shifted = {f"{n}.jpg": f"{n + 1}.jpg" for n in range(5)}
    sign = other_names(shifted)
    assert (sign.name, sign.certain) == ("file_names", False)
    assert sign.found.startswith(
        "4 of 5 annotation files name the image of another one in <filename> (0 names 1, 1 names 2"
    )
    assert other_names({f"{n}.jpg": f"C:\\photos\\{n}.png" for n in range(5)}) is None
    assert other_names({f"{n}.jpg": f"old{n + 1}.jpg" for n in range(5)}) is None
    assert other_names({f"{n}.jpg": "" for n in range(5)}) is None
