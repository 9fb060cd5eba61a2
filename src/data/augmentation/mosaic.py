"""Mosaic: four images in one."""

from collections.abc import Sequence

import cv2
import numpy as np

from src.data.transforms import Sample, fitted_sides, scaled_onto

TILES = 4
CENTRE_RANGE = (0.3, 0.7)  # of the point where the four meet, in sides of the image


def mosaic(
    samples: Sequence[Sample],
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    keep_aspect: bool,
) -> Sample:
    """Four samples in the quarters of an image (height, width), which meet at a random point.

    Each is scaled as `fit` would, but so that it covers its quarter, which is a random crop of it;
    objects are kept as in `visible_in`. Source: YOLOv4 (Bochkovskiy et al., 2020, section 3.4).
    """
    height, width = image_size
    y, x = (int(side * rng.uniform(*CENTRE_RANGE)) for side in image_size)
    image = np.empty((height, width, 3), np.uint8)
    parts = []
    windows = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    for sample, (x1, y1, x2, y2) in zip(samples, windows, strict=True):
        part = covering(sample, (y2 - y1, x2 - x1), image_size, rng, keep_aspect=keep_aspect)
        image[y1:y2, x1:x2] = part.image
        parts.append((part.boxes + np.array([x1, y1, x1, y1], np.float32), part))
    return Sample(
        image,
        np.concatenate([boxes for boxes, _ in parts]),
        np.concatenate([part.labels for _, part in parts]),
        np.concatenate([part.crowd for _, part in parts]),
    )


def covering(
    sample: Sample,
    tile: tuple[int, int],
    image_size: tuple[int, int],
    rng: np.random.Generator,
    *,
    keep_aspect: bool,
) -> Sample:
    """A random crop of the sample that fills a tile (height, width), at the least scale that can.

    The aspect ratio is that of the image fitted to `image_size`.
    """
    height, width = sample.image.shape[:2]
    sides, canvas = np.array([width, height], np.float64), np.array(tile[::-1])
    fitted = np.array(fitted_sides(width, height, image_size, keep_aspect=keep_aspect))
    scale = fitted / sides * (canvas / fitted).max()
    offset = (canvas - sides * scale) * rng.random(2)
    # as resizing does it, since the image has no edge in view
    return scaled_onto(sample, tile, scale, offset, cv2.BORDER_REPLICATE)
