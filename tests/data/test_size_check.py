"""Images of other sizes than annotated, by their common cause."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from src.data.problems import Problems
from src.data.signs.sign import Sign
from src.data.size_check import check_sizes, header_sizes, not_from_sizes
from tests.datasets import make_split

ANNOTATED = np.array([[377, 274], [385, 249], [256, 237]], np.int32)


def errors(sizes, *, turned=False):
    split = make_split([[((1, 1, 9, 9), 0)]] * 3, classes=1)
    split.sizes[:] = ANNOTATED
    problems = Problems(Path("boxes.json"))
    check_sizes(split, problems, np.array(sizes), turned=turned)
    return [str(problem) for problem in problems.errors]


def test_sizes_as_annotated_and_images_that_were_not_decoded():
    assert errors(ANNOTATED) == []
    assert errors([[377, 274], [0, 0], [0, 0]]) == []


def test_images_of_half_the_size():
    (error,) = errors([[188, 137], [192, 124], [128, 118]])
    assert error.startswith("all 3 images: are 0.5 times as large as annotated; probably")
    assert "is 188 x 137 pixels, but its annotations are for 377 x 274)" in error


def test_turned_images_are_one_error_unless_a_sign_names_them():
    (error,) = errors(ANNOTATED[:, ::-1])
    assert error.startswith("all 3 images: have the annotated width and height exchanged;")
    assert errors(ANNOTATED[:, ::-1], turned=True) == []


def test_images_of_one_size():
    (error,) = errors([[640, 640]] * 3)
    assert error.startswith("all 3 images: are 640 x 640 pixels, whatever is annotated;")


def test_one_annotated_size():
    split = make_split([[((1, 1, 9, 9), 0)]] * 3, classes=1)  # of 100 x 100
    problems = Problems(Path("boxes.json"))
    check_sizes(split, problems, ANNOTATED, turned=False)
    (error,) = map(str, problems.errors)
    assert error.startswith("all 3 images: are all annotated as 100 x 100 pixels and have other")


def test_signs_that_follow_from_wrong_sizes():
    split = make_split([[((1, 1, 9, 9), 0)]] * 4, classes=1)
    split.sizes[:] = [[80, 60], [90, 60], [80, 50], [70, 40]]
    outside = Sign("outside", "2 boxes are outside", "cropped", "scale", image_ids=(1, 2))
    shares = replace(outside, name="shares")
    turned = split.sizes[:, ::-1].copy()
    turned[3] = [70, 40]
    assert not_from_sizes([outside, shares], split, turned) == [shares]
    assert not_from_sizes([outside], split, split.sizes) == [outside]
    others = replace(outside, image_ids=(4,))
    assert not_from_sizes([others], split, turned) == [others]
    turned[0] = [81, 59]  # for no one cause
    assert not_from_sizes([outside], split, turned) == [outside]


def test_sizes_by_headers(tmp_path):
    split = replace(make_split([[]] * 5, classes=1), image_dir=tmp_path)
    for name, size in (("0.jpg", (7, 5)), ("2.jpg", (9, 4)), ("4.jpg", (3, 8))):
        Image.new("RGB", size).save(tmp_path / name)
    assert header_sizes(split, 3).tolist() == [[7, 5], [0, 0], [9, 4], [0, 0], [3, 8]]
    assert header_sizes(split, 200).tolist() == header_sizes(split, 3).tolist()


def test_without_common_cause_each_is_an_error():
    found = errors([[188, 137], [249, 385], [640, 640]])
    assert len(found) == 3
    assert "is 249 x 385 pixels, but its annotations are for 385 x 249; was it" in found[1]
    assert len(errors([[188, 137], [249, 385], [640, 640]], turned=True)) == 2
