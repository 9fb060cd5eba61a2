"""Drawn images for benchmarks/tiles.py: large ones with small objects, and small ones to train on.

An object has as many pixels in both: 12 to 40 a side are small, and a few are large, in the small
images as large as in a large one that is scaled to a quarter.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from src.data.synthetic import CLASSES, draw_background, mask_box, paint, shape_mask, write_split

VERSION = 1  # of the drawings: data of another version are drawn again
CATEGORIES = dict(enumerate(CLASSES, 1))
LARGE_SIDE, TRAINING_SIDE = 1280, 160  # pixels of an image
SMALL, LARGE = (12, 40), (200, 480)  # pixels of an object's longer side, in the large images
REDUCTION = 4  # of the large objects in training images
MANY, FEW = (30, 60), (1, 3)  # small and large objects of a large image, least and most
TRAINING_OBJECTS = (1, 8)
STRETCH = 1.5  # longer / shorter side, at most
GAP = 3  # pixels between two objects
TRIALS = 20  # places tried for an object, which may touch no other


def add_object(
    rng: np.random.Generator, image: np.ndarray, taken: np.ndarray, sides: tuple[float, float]
) -> list[dict]:
    """Draws an object whose longer side is log-uniform in `sides`, where `taken` (H,W) is free.

    Returns its annotation, or nothing where there was no place.
    """
    height, width = taken.shape
    longer = min(np.exp(rng.uniform(*np.log(sides))), min(height, width) - 2)
    w, h = (
        int(round(side)) for side in rng.permutation([longer, longer / rng.uniform(1, STRETCH)])
    )
    label = int(rng.integers(len(CLASSES)))
    for _ in range(TRIALS):
        x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
        around = taken[max(y - GAP, 0) : y + h + GAP, max(x - GAP, 0) : x + w + GAP]
        if around.any():
            continue
        mask = shape_mask(CLASSES[label], height, width, x, y, x + w, y + h)
        paint(rng, image, mask)
        around[:] = True
        area = float(cv2.countNonZero(mask))
        return [{"category_id": label + 1, "bbox": mask_box(mask), "area": area, "iscrowd": 0}]
    return []


def draw_large(seed: int, index: int, *, side: int = LARGE_SIDE) -> tuple[np.ndarray, list[dict]]:
    """Large image number `index` of a seed, (side,side,3) uint8, and its annotations."""
    rng = np.random.default_rng((seed, index))
    image, taken = draw_background(rng, side, side), np.zeros((side, side), bool)
    wanted = [LARGE] * rng.integers(*FEW, endpoint=True)
    wanted += [SMALL] * rng.integers(*MANY, endpoint=True)
    return image, [item for sides in wanted for item in add_object(rng, image, taken, sides)]


def draw_training(seed: int, index: int) -> tuple[np.ndarray, list[dict]]:
    """Training image number `index` of a seed, (TRAINING_SIDE,TRAINING_SIDE,3), likewise."""
    rng = np.random.default_rng((seed, index))
    image = draw_background(rng, TRAINING_SIDE, TRAINING_SIDE)
    taken = np.zeros((TRAINING_SIDE, TRAINING_SIDE), bool)
    sides = (SMALL[0], LARGE[1] / REDUCTION)
    count = rng.integers(*TRAINING_OBJECTS, endpoint=True)
    return image, [item for _ in range(count) for item in add_object(rng, image, taken, sides)]


def write_images(root: Path, *, train: int, val: int, side: int = LARGE_SIDE, seed: int = 0):
    """Writes `train` small images for training and `val` large ones of `side` under `root`."""
    keys = {"categories": CATEGORIES, "version": VERSION}
    write_split(root, "train2017", range(train), seed, draw=draw_training, **keys)
    large = partial(draw_large, side=side)
    write_split(root, "val2017", range(train, train + val), seed, draw=large, **keys)
