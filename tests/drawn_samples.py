"""Samples whose boxes can be found again in their pixels."""

import numpy as np

from src.data.transforms import Sample


def drawn(height=90, width=140, boxes=((20, 30, 60, 70), (90, 10, 130, 40))):
    """A black image with one bright rectangle per box, of another colour each."""
    image = np.zeros((height, width, 3), np.uint8)
    for label, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2, label] = 255
    count = len(boxes)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(image, boxes, np.arange(count), np.zeros(count, bool))


def no_objects():
    """Boxes, labels and crowd of an image without any."""
    return np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, bool)


def pixel_box(image, channel):
    """The box around what is bright in one channel."""
    y, x = np.nonzero(image[..., channel] > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def assert_boxes_lie_on_pixels(sample, tolerance=1.0):
    """Every box is where its object is, up to the blur of resizing."""
    for box, label in zip(sample.boxes, sample.labels):
        np.testing.assert_allclose(box, pixel_box(sample.image, label), atol=tolerance)
