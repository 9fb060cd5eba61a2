"""Augmentation: short functions on (image, boxes, labels, crowd) and the presets made of them.

An image is (H,W,3) uint8 RGB, boxes are (G,4) float32 in its pixels. Every random draw comes from
the generator that is handed in.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from src.detection.boxes import clip, iou

MIN_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # SSD paper; 0 any crop, 1 the whole image
CROP_TRIALS = 50
CROP_SCALES = (0.3, 1.0)  # share of each side that a crop keeps
CROP_ASPECT_RATIOS = (0.5, 2.0)
COLOUR_CHANGE = 0.4  # brightness, contrast and saturation change by up to this share
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma


@dataclass(frozen=True)
class Sample:
    """An image with its objects: image (H,W,3) uint8, boxes (G,4), labels (G,), crowd (G,)."""

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


def resize_image(image: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The image (H,W,3) stretched to (height, width): how the network sees every image."""
    height, width = image_size
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def resize(sample: Sample, image_size: tuple[int, int]) -> Sample:
    """The whole image stretched to (height, width), boxes with it."""
    height, width = image_size
    old_height, old_width = sample.image.shape[:2]
    image = resize_image(sample.image, image_size)
    scale = np.array([width / old_width, height / old_height] * 2, np.float32)
    return replace(sample, image=image, boxes=sample.boxes * scale)


def flip(sample: Sample, rng: np.random.Generator) -> Sample:
    """Mirrors left and right with probability 1/2."""
    if rng.random() < 0.5:
        return sample
    width = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    return replace(sample, image=np.ascontiguousarray(sample.image[:, ::-1]), boxes=boxes)


def photometric(sample: Sample, rng: np.random.Generator) -> Sample:
    """Brightness, contrast and saturation each scaled by 1 +- COLOUR_CHANGE, in random order."""
    image = sample.image.astype(np.float32)
    for change in rng.permutation(3):
        factor = np.float32(rng.uniform(1 - COLOUR_CHANGE, 1 + COLOUR_CHANGE))
        if change == 0:
            image = image * factor
        elif change == 1:
            image = blend(image, (image.mean(axis=(0, 1)) @ GREY_WEIGHTS), factor)
        else:
            image = blend(image, (image @ GREY_WEIGHTS)[..., None], factor)
        np.clip(image, 0, 255, out=image)
    return replace(sample, image=np.rint(image).astype(np.uint8))


def blend(image: np.ndarray, other, factor: np.float32) -> np.ndarray:
    """other + factor * (image - other)."""
    return image * factor + other * (1 - factor)


def min_iou_crop(sample: Sample, rng: np.random.Generator) -> Sample:
    """A random crop that overlaps at least one object by a randomly drawn IoU, or the whole image.

    Objects whose centre lies outside are dropped, the others clipped. Source: SSD (Liu et al.,
    2016, section 2.2); as in the authors' code one object of the drawn IoU is enough, and a new
    overlap is drawn after CROP_TRIALS crops that do not satisfy it. Images without objects are
    not cropped.
    """
    objects = sample.boxes[~sample.crowd]
    if len(objects) == 0:
        return sample
    height, width = sample.image.shape[:2]
    while True:
        min_overlap = MIN_OVERLAPS[rng.integers(len(MIN_OVERLAPS))]
        if min_overlap == 1.0:
            return sample
        for _ in range(CROP_TRIALS):
            window = draw_window(rng, width, height)
            if window is None:
                continue
            kept = objects[inside(objects, window)]
            if len(kept) and iou(kept, window[None]).max() >= min_overlap:
                return crop(sample, window)


def draw_window(rng: np.random.Generator, width: int, height: int):
    """A random window (4,) float32 on whole pixels, or None if its aspect ratio is out of range."""
    w = int(width * rng.uniform(*CROP_SCALES))
    h = int(height * rng.uniform(*CROP_SCALES))
    if w < 1 or h < 1 or not CROP_ASPECT_RATIOS[0] <= w / h <= CROP_ASPECT_RATIOS[1]:
        return None
    x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
    return np.array([x, y, x + w, y + h], np.float32)


def inside(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Which boxes (G,4) have their centre in the window: (G,) bool."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((centres > window[:2]) & (centres < window[2:])).all(axis=1)


def crop(sample: Sample, window: np.ndarray) -> Sample:
    """The part of the image in the window; objects with their centre in it, clipped to it.

    A crowd region stays wherever a part of it does, since it only says where not to learn.
    """
    x1, y1, x2, y2 = window.astype(int)
    boxes = clip(sample.boxes - np.array([x1, y1, x1, y1], np.float32), x2 - x1, y2 - y1)
    visible = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    keep = visible & (sample.crowd | inside(sample.boxes, window))
    return Sample(
        image=np.ascontiguousarray(sample.image[y1:y2, x1:x2]),
        boxes=boxes[keep],
        labels=sample.labels[keep],
        crowd=sample.crowd[keep],
    )


def augment(sample: Sample, preset: str, image_size: tuple[int, int], rng) -> Sample:
    """The sample as the preset trains on it, at (height, width) = image_size.

    Presets: "none" resizes alone; "flip" mirrors; "ssd" crops, mirrors and changes colours.
    """
    if preset == "ssd":
        sample = min_iou_crop(sample, rng)
    sample = resize(sample, image_size)
    if preset in ("ssd", "flip"):
        sample = flip(sample, rng)
    if preset == "ssd":
        sample = photometric(sample, rng)
    return sample
