"""Detections of a split in COCO's result format: array and JSON file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.data.annotations import Annotations
from src.detection.postprocess import Detections
from src.runtime.files import JsonList

# columns of COCO's array form: IMAGE, x, y, width, height, SCORE, CATEGORY
IMAGE, BOX, SCORE, CATEGORY = 0, slice(1, 5), 5, 6
BOX_DECIMALS, SCORE_DECIMALS = 3, 6  # in the file and in all metrics
CHUNK_ROWS = 10_000  # converted at a time; COCO's 5,000 images give 500,000 rows


def result_rows(image_id: int, detections: Detections, category_ids: tuple[int, ...]) -> np.ndarray:
    """One image's detections, in its pixels, as rows (D,7) of COCO's array form."""
    rows = np.empty((len(detections.scores), 7))
    boxes = detections.boxes.astype(np.float64)
    rows[:, IMAGE] = image_id
    rows[:, 1:3] = boxes[:, :2]
    rows[:, 3:5] = boxes[:, 2:] - boxes[:, :2]
    rows[:, BOX] = rows[:, BOX].round(BOX_DECIMALS)
    rows[:, SCORE] = detections.scores.astype(np.float64).round(SCORE_DECIMALS)
    rows[:, CATEGORY] = np.array(category_ids)[detections.labels]
    return rows


def no_rows() -> np.ndarray:
    """An empty array of rows."""
    return np.zeros((0, 7))


def placed(annotations: Annotations, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the image (R,) and corners (R,4) x1 y1 x2 y2 of each of the rows (R,7)."""
    index_of = {image_id: index for index, image_id in enumerate(annotations.image_ids.tolist())}
    images = np.array([index_of[int(i)] for i in rows[:, IMAGE]], np.int64)
    corners = rows[:, BOX].copy()
    corners[:, 2:] += corners[:, :2]
    return images, corners


def as_dicts(rows: np.ndarray) -> Iterator[dict]:
    """Rows (R,7) as entries of COCO's result JSON."""
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS].tolist()
        for image_id, x, y, width, height, score, category in chunk:
            yield {
                "image_id": int(image_id),
                "category_id": int(category),
                "bbox": [x, y, width, height],
                "score": score,
            }


def write_results(path: Path, rows: np.ndarray) -> None:
    """Writes rows (R,7) atomically as COCO's result JSON, one detection per line."""
    with JsonList(path) as results:
        for entry in as_dicts(rows):
            results.append(entry)
