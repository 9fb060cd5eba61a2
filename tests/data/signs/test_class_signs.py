"""Signs of classes that one split lacks, or whose names hardly differ."""

import pytest

from src.data.signs.classes import absent_class, alike_classes
from tests.datasets import make_split

NAMES = ("cat", "dog")


def split(*labels, images=20):
    """A box of each label over the images in turn."""
    found = [[] for _ in range(images)]
    for number, label in enumerate(labels):
        found[number % images].append(((1, 2, 30, 40 + number), label))
    return make_split(found, classes=2)


def test_a_frequent_class_without_objects_to_evaluate_on():
    training = split(*[0, 1] * 40)
    sign = absent_class(training, split(*[0] * 12), NAMES)
    assert (sign.name, sign.certain) == ("absent_class", False)
    assert "'dog' (40 in training) of the 2 classes: no object to evaluate on" in sign.found
    assert absent_class(training, split(*[0, 1] * 6), NAMES) is None
    assert absent_class(training, split(), NAMES) is None  # of which another sign tells
    assert absent_class(split(*[0] * 40, 1, 1), split(*[0] * 12), NAMES) is None  # rare


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
