"""A drawn set of aerial tiles: small objects at any angle, many in an image, on open ground."""

from pathlib import Path

import cv2
import numpy as np

from src.data.synthetic import draw_background, mask_box, paint, write_split

VERSION = 1  # of the drawings: data of another version are drawn again
CLASSES = ("car", "tree", "house")
SIDE = 192  # pixels of a tile
MOST_OBJECTS = 14
LENGTHS = ((10, 18), (10, 26), (22, 44))  # pixels of the longer side, by class
ASPECTS = ((0.42, 0.55), (0.85, 1.0), (0.5, 0.95))  # shorter / longer side, by class
MAX_TRIALS = 60  # places tried for the objects of a tile, which may not touch each other
GAP = 3  # pixels between two objects


def draw_mask(rng: np.random.Generator, label: int) -> np.ndarray:
    """An object's mask (SIDE,SIDE) uint8 of 0 and 255: a turned rectangle, or an ellipse."""
    length = rng.uniform(*LENGTHS[label])
    sides = (length, length * rng.uniform(*ASPECTS[label]))
    centre = rng.uniform(0, SIDE, 2)
    turned = (tuple(map(float, centre)), sides, float(rng.uniform(0, 180)))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if CLASSES[label] == "tree":
        cv2.ellipse(mask, turned, 255, -1)
    else:
        cv2.fillPoly(mask, [cv2.boxPoints(turned).astype(np.int32)], 255)
    return mask


def draw_tile(seed: int, index: int) -> tuple[np.ndarray, list[dict]]:
    """Tile number `index` of a seed, (SIDE,SIDE,3) uint8, and its annotations."""
    rng = np.random.default_rng((seed, index))
    image = draw_background(rng, SIDE, SIDE)
    taken, objects = np.zeros((SIDE, SIDE), np.uint8), []
    wanted = int(rng.integers(1, MOST_OBJECTS + 1))
    for _ in range(MAX_TRIALS):
        label = int(rng.integers(len(CLASSES)))
        mask = draw_mask(rng, label)
        if len(objects) == wanted or not mask.any() or (taken & mask).any():
            continue
        paint(rng, image, mask)
        taken |= cv2.dilate(mask, np.ones((2 * GAP + 1,) * 2, np.uint8))
        box = mask_box(mask)
        area = float(cv2.countNonZero(mask))
        objects.append({"category_id": label + 1, "bbox": box, "area": area, "iscrowd": 0})
    return image, objects


def write_tiles(root: Path, *, train: int, val: int, seed: int = 0) -> None:
    """Writes `train` training tiles and `val` others for evaluation under `root`."""
    keys = {"draw": draw_tile, "categories": dict(enumerate(CLASSES, 1)), "version": VERSION}
    write_split(root, "train2017", range(train), seed, **keys)
    write_split(root, "val2017", range(train, train + val), seed, **keys)
