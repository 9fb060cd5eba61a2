"""Augmentation: short functions on a sample, and presets made of them.

An image is (H,W,3) uint8 RGB, boxes are (G,4) float32 in its pixels. Every random draw comes from
the generator that is passed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from src.detection.boxes import area, clip, intersection

MIN_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # SSD paper; 0 any crop, 1 the whole image
CROP_TRIALS = 50
CROP_SCALES = (0.3, 1.0)  # share of each side that a crop keeps
CROP_ASPECT_RATIOS = (0.5, 2.0)
MAX_EXPANSION = 4.0  # sides of an expanded canvas, in sides of the image
COLOUR_CHANGE = 0.4  # brightness, contrast and saturation change by up to this share
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
MEAN_ROWS = 4  # the mean colour is that of every fourth row: near enough, four times as fast
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
    # OpenCV counts from the centre of the first pixel, boxes from its edge
    shift = offset + scale / 2 - 0.5
    image = cv2.warpAffine(
        sample.image,
        np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]]),
        (int(canvas[0]), int(canvas[1])),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=FILL,
    )
    boxes = sample.boxes * np.tile(scale, 2) + np.tile(offset, 2)
    return visible_in(sample, image, boxes.astype(np.float32))


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


def flip(sample: Sample, rng: np.random.Generator) -> Sample:
    """Mirrors left and right with probability 1/2."""
    if rng.random() < 0.5:
        return sample
    width = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    return replace(sample, image=cv2.flip(sample.image, 1), boxes=boxes)


def photometric(sample: Sample, rng: np.random.Generator) -> Sample:
    """Brightness, contrast and saturation each scaled by 1 +- COLOUR_CHANGE, in random order.

    Each of the three is an affine map of a pixel's colour, so they are multiplied into one map: one
    pass over the image, which clips colours to 0..255 once.
    """
    colour = np.eye(3, 4)  # new colour = colour[:, :3] @ old colour + colour[:, 3]
    mean = cv2.mean(sample.image[::MEAN_ROWS])[:3]
    for change in rng.permutation(3):
        factor = rng.uniform(1 - COLOUR_CHANGE, 1 + COLOUR_CHANGE)
        if change == 2:  # away from, or to, the pixel's own grey
            colour = factor * colour + (1 - factor) * (GREY_WEIGHTS @ colour)
            continue
        grey = GREY_WEIGHTS @ (colour[:, :3] @ mean + colour[:, 3])
        colour = factor * colour
        if change == 1:  # away from, or to, the image's mean grey
            colour[:, 3] += (1 - factor) * grey
    return replace(sample, image=cv2.transform(sample.image, colour))


def expand(sample: Sample, rng: np.random.Generator) -> Sample:
    """With probability 1/2 puts the image at a random place of a larger canvas of colour FILL.

    This makes small objects. Source: SSD (Liu et al., 2016, section 3.6).
    """
    if rng.random() < 0.5:
        return sample
    height, width = sample.image.shape[:2]
    ratio = rng.uniform(1, MAX_EXPANSION)
    canvas_size = int(height * ratio), int(width * ratio)
    y, x = (int(rng.integers(c - s + 1)) for c, s in zip(canvas_size, (height, width)))
    image = on_canvas(sample.image, canvas_size, x=x, y=y)
    return replace(sample, image=image, boxes=sample.boxes + np.array([x, y, x, y], np.float32))


def min_iou_crop(sample: Sample, rng: np.random.Generator) -> Sample:
    """A random crop that overlaps at least one object by a randomly drawn IoU, or the whole image.

    Objects whose centre is outside are dropped, the others clipped. Source: SSD (Liu et al., 2016,
    section 2.2); as in the authors' code one object of the drawn IoU is enough, and a new IoU is
    drawn after CROP_TRIALS crops that do not reach it. Images without objects are not cropped.
    """
    objects = sample.boxes[~sample.crowd]
    if len(objects) == 0:
        return sample
    height, width = sample.image.shape[:2]
    while True:
        min_overlap = MIN_OVERLAPS[rng.integers(len(MIN_OVERLAPS))]
        if min_overlap == 1.0:
            return sample
        windows = draw_windows(rng, width, height)
        good = np.flatnonzero(best_overlaps(windows, objects) >= min_overlap)
        if len(good):
            return crop(sample, windows[good[0]])


def draw_windows(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Up to CROP_TRIALS random windows (T,4) float32 on whole pixels, of allowed aspect ratios."""
    sides = np.floor(rng.uniform(*CROP_SCALES, (CROP_TRIALS, 2)) * [width, height])
    starts = np.floor(rng.random((CROP_TRIALS, 2)) * ([width, height] - sides + 1))
    sides, starts = (v[(sides >= 1).all(axis=1)] for v in (sides, starts))
    ratios = sides[:, 0] / sides[:, 1]
    allowed = (ratios >= CROP_ASPECT_RATIOS[0]) & (ratios <= CROP_ASPECT_RATIOS[1])
    return np.concatenate([starts, starts + sides], axis=1)[allowed].astype(np.float32)  # (T,4)


def best_overlaps(windows: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """(T,) best IoU of each window (T,4) with an object (G,4) whose centre is in it; -1 if none."""
    overlap = intersection(windows, objects)  # (T,G)
    overlap /= area(windows)[:, None] + area(objects) - overlap
    centres = (objects[:, :2] + objects[:, 2:]) / 2
    inside = (centres > windows[:, None, :2]) & (centres < windows[:, None, 2:])  # (T,G,2)
    return np.where(inside.all(axis=2), overlap, -1).max(axis=1)


def crop(sample: Sample, window: np.ndarray) -> Sample:
    """The part of the image in the window (4,); objects as in `visible_in`."""
    x1, y1, x2, y2 = window.astype(int)
    boxes = sample.boxes - np.array([x1, y1, x1, y1], np.float32)
    return visible_in(sample, sample.image[y1:y2, x1:x2], boxes)


@dataclass(frozen=True)
class Preset:
    """Steps on (sample, rng) before and after the image is brought to the network's size."""

    before: tuple[Callable, ...] = ()
    jitter: bool = False  # scale_jitter in place of fit
    after: tuple[Callable, ...] = ()


PRESETS = {
    "none": Preset(),
    "flip": Preset(after=(flip,)),
    "ssd": Preset(before=(min_iou_crop,), after=(flip, photometric)),
    "ssd_expand": Preset(before=(expand, min_iou_crop), after=(flip, photometric)),
    "jitter": Preset(jitter=True, after=(flip, photometric)),
}


def augment(
    sample: Sample,
    preset: str,
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    keep_aspect: bool = False,
    jitter_scale: Sequence[float] = (0.5, 2.0),
) -> Sample:
    """The sample augmented by a preset of PRESETS, at (height, width) = image_size.

    The network must be evaluated with the same `keep_aspect`; see `fit_image`. `jitter_scale` is
    the range of factors of `scale_jitter`.
    """
    steps = PRESETS[preset]
    for step in steps.before:
        sample = step(sample, rng)
    if steps.jitter:
        sample = scale_jitter(sample, image_size, rng, keep_aspect=keep_aspect, scales=jitter_scale)
    else:
        sample = fit(sample, image_size, keep_aspect=keep_aspect)
    for step in steps.after:
        sample = step(sample, rng)
    return sample
