"""Signs of classes that differ between the splits, and of objects on few images."""

import numpy as np
import pytest

from src.data.signs.classes import absent_class, alike_classes, swapped_classes
from src.data.signs.sign import those_found
from src.data.signs.split import few_images
from tests.datasets import make_split

NAMES = ("cat", "dog")


def split(*labels_and_sides, images=20):
    """Boxes (label, width, height) over the images in turn."""
    found = [[] for _ in range(images)]
    for number, (label, width, height) in enumerate(labels_and_sides):
        found[number % images].append(((1, 2, 1 + width, 2 + height), label))
    return make_split(found, classes=2)


def boxes(label, size, number, aspect=1.0, seed=0):
    sides = np.random.default_rng(seed).uniform(0.9, 1.1, (number, 2)) * [size * aspect, size]
    return [(label, *pair) for pair in sides]


def class_signs(training, evaluation):
    signs = (absent_class, swapped_classes)
    return those_found(*(find(training, evaluation, NAMES) for find in signs))


def names(training, evaluation):
    return [sign.name for sign in class_signs(training, evaluation)]


def test_alike_splits_have_no_sign():
    training = split(*boxes(0, 10, 40), *boxes(1, 40, 40))
    assert names(training, split(*boxes(0, 11, 12), *boxes(1, 38, 12))) == []
    assert names(training, split()) == []  # of which another sign tells


def test_a_frequent_class_without_objects_to_evaluate_on():
    training = split(*boxes(0, 10, 40), *boxes(1, 40, 40))
    (sign,) = class_signs(training, split(*boxes(0, 10, 12)))
    assert (sign.name, sign.certain) == ("absent_class", False)
    assert "'dog' (40 in training) of the 2 classes: no object to evaluate on" in sign.found
    rare = split(*boxes(0, 10, 40), *boxes(1, 40, 2))
    assert names(rare, split(*boxes(0, 10, 12))) == []


def test_classes_with_each_others_sizes():
    training = split(*boxes(0, 10, 40), *boxes(1, 40, 40))
    (sign,) = class_signs(training, split(*boxes(1, 10, 12), *boxes(0, 40, 12)))
    assert (sign.name, sign.certain) == ("swapped_classes", False)
    assert "'cat' and 'dog' have each other's sizes" in sign.found
    # sizes alike in one split, or few objects, tell nothing
    assert names(training, split(*boxes(1, 20, 12), *boxes(0, 20, 12, seed=1))) == []
    assert names(training, split(*boxes(1, 10, 9), *boxes(0, 40, 9))) == []


def test_classes_with_each_others_shapes():
    training = split(*boxes(0, 10, 40, aspect=3), *boxes(1, 17, 40))
    evaluation = split(*boxes(1, 10, 12, aspect=3), *boxes(0, 17, 12))
    assert names(training, evaluation) == ["swapped_classes"]


def test_all_objects_on_one_image():
    crowded = make_split([[((1, 1, 9, 9 + k), 0) for k in range(20)], *[[]] * 19], classes=1)
    sign = few_images(crowded)
    assert (sign.name, sign.image_ids) == ("few_images", (1,))
    assert sign.found == "all 20 objects are on 1 of 20 images (0.jpg)"
    assert few_images(make_split([[((1, 1, 9, 9), 0)], *[[]] * 19], classes=1)) is None
    assert few_images(make_split([[((1, 1, 9, 9), 0)] * 20], classes=1)) is None
    assert few_images(make_split([[]] * 20, classes=1)) is None


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("Cat", "cat", "dog"), "'Cat' = 'cat' are different classes, of 3"),
        (("cat ", "cat"), "'cat ' = 'cat' are"),
        (("hot_dog", "hot dog", "hotdog"), "'hot_dog' = 'hot dog' = 'hotdog' are"),
        (("caf\u00e9", "cafe\u0301"), "'caf\u00e9' = 'cafe\u0301' are"),
        (
            ("dogs", "dog", "Hen", "hen"),
            "'Hen' = 'hen', 'dog' = 'dogs' are different classes, of 4",
        ),
    ],
)
def test_names_that_hardly_differ(given, found):
    sign = alike_classes(given)
    assert (sign.name, sign.certain) == ("alike_classes", False)
    assert sign.found.startswith(found)


def test_names_of_classes_that_differ():
    letters = ("A", "a", "B", "b")
    numbers = ("2.5", "25", "-1", "1", "5 0", "50")
    assert alike_classes((*letters, *numbers, "person", "people", "gla", "glass")) is None
