"""Geometry of augmentation, as short functions on a sample, and how an image is fitted.

An image is (H,W,3) uint8 RGB, boxes are (G,4) float32 in its pixels. Every random draw comes from
the generator that is passed in.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from src.detection.boxes import area, clip

MAX_CANVAS = 2**25  # pixels of an expanded canvas, 100 MB; those of full HD just fit
MAX_WARPED_SIDE = 2**15 - 2  # pixels of an image that OpenCV's warpAffine takes
FILL = (124, 116, 104)  # ImageNet's mean colour, which the network normalises to zero


@dataclass(frozen=True)
class Sample:
    """An image with its objects: image (H,W,3) uint8, boxes (G,4), labels (G,), crowd (G,)."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


def fit_image(
    image: np.ndarray, image_size: tuple[int, int], *, keep_aspect: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The whole image resized to (height, width) = image_size, and the factors in x and y, (2,).

    It is stretched; with keep_aspect (letterbox) both sides are scaled alike, the image is put at
    the top left, and the rest is filled with FILL.
    """
    height, width = image.shape[:2]
    new_width, new_height = fitted_sides(width, height, image_size, keep_aspect=keep_aspect)
    fitted = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    if (new_height, new_width) != tuple(image_size):
        fitted = on_canvas(fitted, image_size, x=0, y=0)
    return fitted, np.array([new_width / width, new_height / height], np.float32)


def picture_window(image: np.ndarray) -> np.ndarray:
    """(4,) the corners of the smallest part of an image (H,W,3) around which all is FILL."""
    other = (image != FILL).any(axis=2)  # (H,W)
    rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
    if not len(rows):
        return np.array([image.shape[1], image.shape[0], 0, 0], np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def fitted_sides(
    width: int, height: int, image_size: tuple[int, int], *, keep_aspect: bool
) -> tuple[int, int]:
    """Width and height, in whole pixels, that `fit_image` gives an image."""
    canvas_height, canvas_width = image_size
    if not keep_aspect:
        return canvas_width, canvas_height
    scale = min(canvas_width / width, canvas_height / height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def on_canvas(image: np.ndarray, canvas_size: tuple[int, int], *, x: int, y: int) -> np.ndarray:
    """The image with its top left at (x, y) of a canvas (height, width) of the colour FILL."""
    below, right = canvas_size[0] - y - image.shape[0], canvas_size[1] - x - image.shape[1]
    return cv2.copyMakeBorder(image, y, below, x, right, cv2.BORDER_CONSTANT, value=FILL)


def fit(sample: Sample, image_size: tuple[int, int], *, keep_aspect: bool) -> Sample:
    """The sample with its image fitted to (height, width), boxes with it; see `fit_image`."""
    image, scale = fit_image(sample.image, image_size, keep_aspect=keep_aspect)
    return replace(sample, image=image, boxes=sample.boxes * np.tile(scale, 2))


def scale_jitter(
    sample: Sample,
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    keep_aspect: bool,
    scales: Sequence[float],
) -> Sample:
    """The fitted image scaled by a factor from a range too, on a canvas of fixed (height, width).

    A smaller image is put at a random place and the rest filled; of a larger one the canvas is a
    random crop. Objects are kept as in `crop`. Source: Ghiasi et al., 2021, whose large-scale
    jitter has the range 0.1 to 2, and standard jitter 0.8 to 1.25.
    """
    height, width = sample.image.shape[:2]
    sides = np.array([width, height], np.float64)
    fitted = fitted_sides(width, height, image_size, keep_aspect=keep_aspect)
    scale = np.array(fitted) / sides * rng.uniform(*scales)
    canvas = np.array([image_size[1], image_size[0]])
    offset = (canvas - sides * scale) * rng.random(2)
    return scaled_onto(sample, image_size, scale, offset)


def scaled_onto(
    sample: Sample,
    canvas_size: tuple[int, int],
    scale: np.ndarray,
    offset: np.ndarray,
    border: int = cv2.BORDER_CONSTANT,
) -> Sample:
    """The sample scaled and moved on a canvas (height, width).

    Objects are kept as in `visible_in`.

    Args:
        scale: (2,) pixels of the canvas per pixel of the image, in x and y.
        offset: (2,) where the image's top left comes to be.
        border: OpenCV's code for what is beyond the image's edge, by default the colour FILL.
    """
    boxes = sample.boxes * np.tile(scale, 2) + np.tile(offset, 2)
    height, width = sample.image.shape[:2]
    image = reduced(sample.image, min(width, MAX_WARPED_SIDE), min(height, MAX_WARPED_SIDE))
    scale = scale * [width / image.shape[1], height / image.shape[0]]
    # OpenCV counts from the centre of the first pixel, boxes from its edge
    shift = offset + scale / 2 - 0.5
    image = cv2.warpAffine(
        image,
        np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]]),
        (int(canvas_size[1]), int(canvas_size[0])),
        flags=cv2.INTER_LINEAR,
        borderMode=border,
        borderValue=FILL,
    )
    return visible_in(sample, image, boxes.astype(np.float32))


def reduced(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image (H,W,3) resized to a width and height, itself where it has them."""
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def visible_in(sample: Sample, image: np.ndarray, boxes: np.ndarray) -> Sample:
    """The sample on another image, in whose pixels its boxes (G,4) now are.

    Objects whose centre is outside are dropped, the others clipped. An ignored region is kept where
    any part of it is inside.
    """
    height, width = image.shape[:2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres > 0) & (centres < [width, height])).all(axis=1)
    boxes = clip(boxes, width, height)
    keep = (inside | sample.crowd) & (area(boxes) > 0)
    return Sample(image, boxes[keep], sample.labels[keep], sample.crowd[keep])


def flip(
    sample: Sample, rng: np.random.Generator, probability: float = 0.5, *, axis: int = 0
) -> Sample:
    """With a probability mirrors left and right, axis 0, or top and bottom, axis 1."""
    if not probability or rng.random() < 1 - probability:
        return sample
    side = sample.image.shape[1 - axis]
    boxes = sample.boxes.copy()
    boxes[:, [axis, axis + 2]] = side - sample.boxes[:, [axis + 2, axis]]
    return replace(sample, image=cv2.flip(sample.image, 1 - axis), boxes=boxes)


def quarter_turn(sample: Sample, rng: np.random.Generator, probability: float) -> Sample:
    """With a probability turns the image by 90, 180 or 270 degrees."""
    if not probability or rng.random() < 1 - probability:
        return sample
    height, width = sample.image.shape[:2]
    x1, y1, x2, y2 = sample.boxes.T
    code, corners = (
        (cv2.ROTATE_90_CLOCKWISE, (height - y2, x1, height - y1, x2)),
        (cv2.ROTATE_180, (width - x2, height - y2, width - x1, height - y1)),
        (cv2.ROTATE_90_COUNTERCLOCKWISE, (y1, width - x2, y2, width - x1)),
    )[rng.integers(3)]
    boxes = np.stack(corners, axis=1).astype(np.float32)  # (G,4)
    return replace(sample, image=cv2.rotate(sample.image, code), boxes=boxes)


def expand(sample: Sample, rng: np.random.Generator, most: float = 4.0) -> Sample:
    """With probability 1/2 puts the image at a random place of a larger canvas of colour FILL.

    This makes small objects. The canvas has up to `most` times the sides of the image, which is
    reduced first where the canvas would have more than MAX_CANVAS pixels. Source: SSD (Liu et al.,
    2016, section 3.6).
    """
    if rng.random() < 0.5:
        return sample
    ratio = rng.uniform(1, most)
    sample = fit_in_pixels(sample, MAX_CANVAS / ratio**2)
    height, width = sample.image.shape[:2]
    canvas_size = int(height * ratio), int(width * ratio)
    y, x = (int(rng.integers(c - s + 1)) for c, s in zip(canvas_size, (height, width)))
    image = on_canvas(sample.image, canvas_size, x=x, y=y)
    return replace(sample, image=image, boxes=sample.boxes + np.array([x, y, x, y], np.float32))


def fit_in_pixels(sample: Sample, most: float) -> Sample:
    """The sample scaled down to at most `most` pixels; itself where it has no more."""
    height, width = sample.image.shape[:2]
    if height * width <= most:
        return sample
    share = math.sqrt(most / (height * width))
    sides = np.maximum(np.floor(np.array([width, height]) * share), 1).astype(int)
    scale = (sides / [width, height]).astype(np.float32)
    image = reduced(sample.image, *sides.tolist())
    return replace(sample, image=image, boxes=sample.boxes * np.tile(scale, 2))


def crop(sample: Sample, window: np.ndarray) -> Sample:
    """The part of the image in the window (4,); objects as in `visible_in`."""
    x1, y1, x2, y2 = window.astype(int)
    boxes = sample.boxes - np.array([x1, y1, x1, y1], np.float32)
    return visible_in(sample, sample.image[y1:y2, x1:x2], boxes)
