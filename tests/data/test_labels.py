"""Labels of boxes can be read: their ink, their outlines, and that they do not overprint."""

import numpy as np
import pytest

from src.data.drawing import FOUND, IGNORED, MISSED, Mark, colour, draw_marks
from src.data.labels import ink, luminance, place_labels

READABLE = 4.5  # WCAG 2.1's least contrast of small text


def contrast(first, second):
    """Of two colours, 1 to 21 (WCAG 2.1)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_known_colours():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)
    assert contrast((255, 255, 0), (255, 255, 255)) == pytest.approx(1.07, abs=0.01)


def test_ink_of_every_colour_is_readable():
    assert ink((255, 255, 0)) == (0, 0, 0)
    assert ink((0, 0, 160)) == (255, 255, 255)
    colours = [colour(label) for label in range(400)] + [FOUND, MISSED, IGNORED]
    assert min(contrast(rgb, ink(rgb)) for rgb in colours) >= READABLE


@pytest.mark.parametrize("ground", [0, 255])
def test_boxes_show_on_black_and_on_white(ground):
    """Line or outline has the contrast to the ground that WCAG asks of graphics, 3."""
    for label in range(40):
        image = np.full((60, 60, 3), ground, np.uint8)
        draw_marks(image, [Mark(np.array([10, 30, 50, 55]), "", colour(label))])
        across = [tuple(pixel) for pixel in image[45, 6:16].tolist()]
        assert colour(label) in across
        assert max(contrast(pixel, (ground,) * 3) for pixel in across) >= 3


def overlap(first, second):
    return (np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])).min() > 0


def test_labels_of_neighbours_do_not_overprint():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 260, (40, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 60, (40, 2))])
    sizes = [(width, 14) for width in rng.integers(20, 70, 40)]
    places = place_labels(boxes, sizes, (320, 300))
    labels = [np.array([*at, *np.add(at, size)]) for at, size in zip(places, sizes) if at]
    assert len(labels) >= 30
    for row, label in enumerate(labels):
        assert label.min() >= 0 and label[2] <= 320 and label[3] <= 300
        assert not any(overlap(label, other) for other in labels[:row])


def test_places_by_hand():
    box = np.array([[100, 100, 160, 140]])
    size, bounds = (40, 12), (300, 200)
    assert place_labels(box, [size], bounds) == [(100, 88)]  # above, at the left
    three = place_labels(np.repeat(box, 3, axis=0), [size] * 3, bounds)
    assert three == [(100, 88), (100, 140), (160, 100)]  # below; at the right, where 120 is taken
    at_top = place_labels(np.array([[100, 5, 160, 60]]), [size], bounds)
    assert at_top == [(100, 0)]
    assert place_labels(np.zeros((9, 4)), [(300, 200)] * 9, bounds)[1:] == [None] * 8
    assert place_labels(np.zeros((0, 4)), [], bounds) == []
    assert place_labels(box, [(400, 12)], bounds) == [(0, 88)]  # wider than the picture


def test_a_neighbours_label_is_whole():
    """Two labels side by side look as each does alone."""
    marks = [
        Mark(np.array([20, 40, 60, 80]), "rectangle", (255, 0, 0)),
        Mark(np.array([40, 42, 90, 85]), "ellipse", (0, 255, 0)),
    ]
    both = np.zeros((120, 200, 3), np.uint8)
    draw_marks(both, marks)
    alone = np.zeros_like(both)
    draw_marks(alone, marks[:1])
    assert (both[24:38, 20:80] == alone[24:38, 20:80]).all()
