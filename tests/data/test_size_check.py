"""Images of other sizes than annotated, by their common cause."""

from pathlib import Path

import numpy as np

from src.data.problems import Problems
from src.data.size_check import check_sizes
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


def test_without_common_cause_each_is_an_error():
    found = errors([[188, 137], [249, 385], [640, 640]])
    assert len(found) == 3
    assert "is 249 x 385 pixels, but its annotations are for 385 x 249; was it" in found[1]
    assert len(errors([[188, 137], [249, 385], [640, 640]], turned=True)) == 2
