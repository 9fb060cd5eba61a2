"""Results a person reads: the AP table and pictures of detections."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from src.data.annotations import Annotations, Record
from src.data.drawing import colour, draw_box, draw_objects, fit_height
from src.errors import InputError
from src.evaluation.coco import Metrics

PICTURE_HEIGHT = 320  # of each drawn image, in pixels
DRAWN_SCORE = 0.3  # detections below this are not drawn


def metrics_table(metrics: Metrics, title: str) -> str:
    """The twelve numbers and AP per class as aligned text; "-" where no object counts."""
    lines = [title]
    names = list(metrics.overall)
    for row in (names[:6], names[6:]):
        lines.append("  ".join(f"{name:>9}" for name in row))
        lines.append("  ".join(f"{number(metrics.overall[name]):>9}" for name in row))
    width = max(len(name) for name in metrics.class_ap)
    lines.append(f"{'class':<{width}}  {'AP':>6}  {'AP50':>6}")
    for name, value in metrics.class_ap.items():
        fifty = number(metrics.class_ap50[name])
        lines.append(f"{name:<{width}}  {number(value):>6}  {fifty:>6}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three decimals, or "-" for nan."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def save_pictures(
    annotations: Annotations,
    classes: tuple[str, ...],
    results: list[dict],
    folder: Path,
    count: int,
) -> list[Path]:
    """Writes the pictures of `draw_examples` into a folder, which is made if it is not there.

    Returns:
        The files written, <image id>.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for record, picture in draw_examples(annotations, classes, results, count):
        paths.append(folder / f"{record.image_id}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return paths


def draw_examples(
    annotations: Annotations, classes: tuple[str, ...], results: list[dict], count: int
) -> Iterator[tuple[Record, np.ndarray]]:
    """Draws `count` images of the split, picked by chance: ground truth left, detections right.

    Args:
        results: in COCO's result format.

    Yields:
        Record and picture (PICTURE_HEIGHT,W,3) uint8 RGB, but for images that cannot be read.
    """
    count = min(count, len(annotations))
    order = np.random.default_rng(0).permutation(len(annotations))[:count]  # the same every time
    chosen = [annotations[int(i)] for i in sorted(order)]
    found: dict[int, list[dict]] = {record.image_id: [] for record in chosen}
    for result in results:
        if result["image_id"] in found and result["score"] >= DRAWN_SCORE:
            found[result["image_id"]].append(result)
    label_of = {category: label for label, category in enumerate(annotations.category_ids)}
    for record in chosen:
        try:
            yield record, draw_pair(record, found[record.image_id], classes[1:], label_of)
        except InputError:  # an unreadable image, which was reported before
            continue


def draw_pair(record: Record, found: list[dict], names: tuple[str, ...], label_of: dict):
    """Ground truth and detections of one image beside each other, (PICTURE_HEIGHT,W,3) uint8."""
    left = fit_height(record.read(), PICTURE_HEIGHT)
    right = left.copy()
    draw_objects(left, record, names)
    scale = PICTURE_HEIGHT / record.height
    for result in sorted(found, key=lambda r: r["score"]):
        label = label_of[result["category_id"]]
        x, y, w, h = result["bbox"]
        box = np.array([x, y, x + w, y + h]) * scale
        draw_box(right, box, f"{names[label]} {result['score']:.2f}", colour(label))
    gap = np.full((PICTURE_HEIGHT, 4, 3), 255, np.uint8)
    return np.hstack([left, gap, right])
