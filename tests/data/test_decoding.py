"""Images of other sizes than annotated."""

from pathlib import Path

import numpy as np

from src.data.decoding import check_sizes
from src.data.problems import Problems, first_lines
from tests.datasets import make_split

ANNOTATED = np.array([[377, 274], [385, 249], [256, 237]], np.int32)


def errors(sizes, *, turned=False):
    split = make_split([[((1, 1, 9, 9), 0)]] * 3, classes=1)
    split.sizes[:] = ANNOTATED
    problems = Problems(Path("boxes.json"))
    check_sizes(split, problems, np.array(sizes), turned=turned)
    return problems.errors


def test_sizes_as_annotated_and_images_that_were_not_decoded():
    assert errors(ANNOTATED) == []
    assert errors([[377, 274], [0, 0], [0, 0]]) == []


def test_images_of_other_sizes_are_one_line():
    found = errors([[188, 137], [192, 124], [128, 118]])
    assert [error.image_id for error in found] == [1, 2, 3]
    (line,) = first_lines(found)
    assert line.startswith("line 1 and 2 more: ")
    assert line.endswith(
        "is 188 x 137 pixels, but its annotations are for 377 x 274; was it resized or rotated?"
    )


def test_turned_images_are_errors_unless_a_sign_names_them():
    sizes = [[274, 377], [249, 385], [640, 640]]
    assert len(errors(sizes)) == 3
    assert [error.image_id for error in errors(sizes, turned=True)] == [3]
