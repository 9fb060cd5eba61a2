"""The embedded data set: drawn shapes as files in COCO's layout, for the demo and the tests.

Run as `python -m src.data.synthetic FOLDER [--train N] [--val N] [--seed S]`.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from src.distributed.command import run_command
from src.runtime.files import path_in_errors, write_atomically

Draw = Callable[[int, int], tuple[np.ndarray, list[dict]]]

VERSION = 1  # of the drawings: data of another version are drawn again
CLASSES = ("ellipse", "rectangle", "triangle", "cross")
CATEGORY_IDS = (3, 7, 18, 44)  # sparse, like COCO's
CATEGORIES = dict(zip(CATEGORY_IDS, CLASSES))
CROWD_EVERY = 25  # one image of so many has a crowd region
EMPTY_EVERY = 20  # one image of so many has no object
MIN_SIDE, MAX_SIDE = 24, 120  # of an object, in pixels
SHAPES = ((160, 192), (192, 160), (176, 176), (144, 192))  # (height, width) of the images
MIN_VISIBLE = 0.5  # share of an object that later ones must leave visible
MIN_CONTRAST = 70  # between an object and what is below it, in the channel that differs most
JPEG_QUALITY = 92


def draw_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A background (H,W,3) uint8: gradient, stripes, checks or coarse noise, with fine noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    first, second = rng.uniform(30, 225, (2, 3)).astype(np.float32)
    kind = rng.integers(4)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if kind == 0:
        mix = (along - along.min()) / max(float(np.ptp(along)), 1.0)
    elif kind == 1:
        mix = 0.5 + 0.5 * np.sin(along * 2 * np.pi / rng.uniform(8, 40))
    elif kind == 2:
        side = rng.integers(6, 24)
        mix = ((x // side + y // side) % 2).astype(np.float32)
    else:
        coarse = rng.random((rng.integers(3, 8), rng.integers(3, 8)), dtype=np.float32)
        mix = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    mix = (0.5 + (mix - 0.5) * rng.uniform(0.1, 0.5)).astype(np.float32)
    image = first + (second - first) * mix[..., None]
    image += rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 8)
    return np.clip(image, 0, 255).astype(np.uint8)


def shape_mask(kind: str, height: int, width: int, x1: int, y1: int, x2: int, y2: int):
    """A filled shape that touches all sides of its box, as a mask (H,W) uint8 of 0 and 255."""
    mask = np.zeros((height, width), np.uint8)
    right, bottom = x2 - 1, y2 - 1
    if kind == "rectangle":
        cv2.rectangle(mask, (x1, y1), (right, bottom), 255, -1)
    elif kind == "ellipse":
        y, x = np.ogrid[y1:y2, x1:x2]  # plus half a pixel: at the centres
        across = (2 * x + 1 - x1 - x2) / (x2 - x1)
        down = (2 * y + 1 - y1 - y2) / (y2 - y1)
        mask[y1:y2, x1:x2][across**2 + down**2 <= 1] = 255
    elif kind == "triangle":
        corners = np.array([[(x1 + right) // 2, y1], [right, bottom], [x1, bottom]], np.int32)
        cv2.fillPoly(mask, [corners], 255)
    else:
        third_x, third_y = (x2 - x1) // 3, (y2 - y1) // 3
        cv2.rectangle(mask, (x1 + third_x, y1), (right - third_x, bottom), 255, -1)
        cv2.rectangle(mask, (x1, y1 + third_y), (right, bottom - third_y), 255, -1)
    return mask


def mask_box(mask: np.ndarray) -> list[float]:
    """[x, y, width, height] of the nonzero pixels of a mask that has some."""
    return [float(v) for v in cv2.boundingRect(mask)]


def paint(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> None:
    """Fills the mask with a colour of at least MIN_CONTRAST to what is below it."""
    x, y, w, h = cv2.boundingRect(mask)
    window, inside = image[y : y + h, x : x + w], mask[y : y + h, x : x + w] > 0
    below = window[inside].mean(axis=0)
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - below).max() < MIN_CONTRAST:
        colour = rng.uniform(0, 255, 3)
    noise = rng.standard_normal((np.count_nonzero(inside), 3), np.float32) * rng.uniform(0, 10)
    window[inside] = np.clip(colour + noise, 0, 255).astype(np.uint8)


def random_box(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of an object; sides are log-uniform, so as many are small as large."""
    side = np.exp(rng.uniform(np.log(MIN_SIDE), np.log(MAX_SIDE)))
    stretch = np.exp(rng.uniform(-0.35, 0.35))
    w = int(np.clip(side * stretch, MIN_SIDE * 0.75, width - 2))
    h = int(np.clip(side / stretch, MIN_SIDE * 0.75, height - 2))
    x1, y1 = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    return x1, y1, x1 + w, y1 + h


def draw_objects(rng: np.random.Generator, image: np.ndarray, count: int) -> list[dict]:
    """Draws up to `count` shapes, later ones over earlier ones; returns their annotations."""
    height, width = image.shape[:2]
    masks, annotations = [], []
    for _ in range(count):
        box = random_box(rng, height, width)
        label = int(rng.integers(len(CLASSES)))
        mask = shape_mask(CLASSES[label], height, width, *box)
        full = cv2.countNonZero(mask)
        if any(cv2.countNonZero(m & ~mask) < MIN_VISIBLE * f for m, f in masks):
            continue
        paint(rng, image, mask)
        for earlier, _ in masks:
            earlier &= ~mask
        masks.append((mask, full))
        annotations.append({"category_id": CATEGORY_IDS[label], "bbox": mask_box(mask)})
    for annotation, (mask, _) in zip(annotations, masks):
        annotation.update(area=float(cv2.countNonZero(mask)), iscrowd=0)  # of what is visible
    return annotations


def draw_crowd(rng: np.random.Generator, image: np.ndarray) -> dict:
    """Draws small overlapping discs; returns the one annotation of all of them."""
    height, width = image.shape[:2]
    w, h = int(rng.integers(50, 80)), int(rng.integers(40, 70))
    x1, y1 = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
    crowd = np.zeros((height, width), np.uint8)
    for _ in range(25):
        side = int(rng.integers(8, 13))
        x, y = int(rng.integers(x1, x1 + w - side)), int(rng.integers(y1, y1 + h - side))
        mask = shape_mask("ellipse", height, width, x, y, x + side, y + side)
        paint(rng, image, mask)
        crowd |= mask
    return {
        "category_id": CATEGORY_IDS[0],
        "bbox": mask_box(crowd),
        "area": float(cv2.countNonZero(crowd)),
        "iscrowd": 1,
    }


def draw_image(seed: int, index: int) -> tuple[np.ndarray, list[dict]]:
    """Image number `index` of a seed, (H,W,3) uint8, and its annotations."""
    rng = np.random.default_rng((seed, index))
    height, width = SHAPES[rng.integers(len(SHAPES))]
    image = draw_background(rng, height, width)
    if index % EMPTY_EVERY == EMPTY_EVERY - 1:
        return image, []
    crowd = [draw_crowd(rng, image)] if index % CROWD_EVERY == 0 else []
    return image, crowd + draw_objects(rng, image, int(rng.integers(1, 6)))


def write_split(
    root: Path,
    split: str,
    indices: range,
    seed: int,
    *,
    draw: Draw = draw_image,
    categories: Mapping[int, str] = CATEGORIES,
    version: int = VERSION,
) -> None:
    """Writes `root`/`split`/*.jpg and `root`/annotations/instances_`split`.json.

    A complete split that was drawn with the same numbers is left as it is.

    Args:
        draw: image number `index` of a seed, (H,W,3) uint8 RGB, and its annotations.
        categories: names by the ids that the annotations use.
        version: of the drawings; those of another version are drawn again.
    """
    target = root / "annotations" / f"instances_{split}.json"
    info = {"version": version, "seed": seed, "first": indices.start, "stop": indices.stop}
    if target.is_file() and json.loads(target.read_bytes()).get("info") == info:
        return
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for index in indices:
        image, objects = draw(seed, index)
        name, (height, width) = f"{index:06d}.jpg", image.shape[:2]
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, data = cv2.imencode(".jpg", image[..., ::-1], quality)
        with path_in_errors(root / split / name):  # OpenCV's own write does not say why it fails
            (root / split / name).write_bytes(data.tobytes())
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        for item in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": index, **item})
    content = {"info": info, "images": images, "annotations": annotations}
    content["categories"] = [{"id": i, "name": name} for i, name in categories.items()]
    # written last: the split is complete once it is there
    write_atomically(target, json.dumps(content))


def write_dataset(root: Path, *, train: int, val: int, seed: int = 0) -> None:
    """Writes `train` training images and `val` others for evaluation under `root`."""
    write_split(root, "train2017", range(train), seed)
    write_split(root, "val2017", range(train, train + val), seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=1080, help="training images")
    parser.add_argument("--val", type=int, default=200, help="evaluation images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_dataset(args.folder, train=args.train, val=args.val, seed=args.seed)
    print(f"{args.train} + {args.val} images in {args.folder}")


if __name__ == "__main__":
    run_command(main)
