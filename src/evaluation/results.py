"""Detections of a split in COCO's result format: one array, and the json file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from src.detection.postprocess import Detections
from src.runtime.files import JsonList

# columns of COCO's array form: IMAGE, x, y, width, height, SCORE, CATEGORY
IMAGE, BOX, SCORE, CATEGORY = 0, slice(1, 5), 5, 6
BOX_DECIMALS, SCORE_DECIMALS = 3, 6  # that the file holds, and so all that is computed from
ROWS_AT_ONCE = 10_000  # that are turned into text; a COCO of 5,000 images has 500,000


def result_rows(image_id: int, detections: Detections, category_ids: tuple[int, ...]) -> np.ndarray:
    """One image's detections, in its own pixels, as rows (D,7) of COCO's array form.

    Args:
        category_ids: the file's id of each label.
    """
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
    """The rows of nothing."""
    return np.zeros((0, 7))


def as_dicts(rows: np.ndarray) -> Iterator[dict]:
    """Each row (R,7) as an entry of COCO's result json."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        for image_id, x, y, width, height, score, category in rows[
            start : start + ROWS_AT_ONCE
        ].tolist():
            yield {
                "image_id": int(image_id),
                "category_id": int(category),
                "bbox": [x, y, width, height],
                "score": score,
            }


def write_results(path: Path, rows: np.ndarray) -> None:
    """Writes rows (R,7) as COCO's result json, a detection a line, in one piece."""
    with JsonList(path) as results:
        for entry in as_dicts(rows):
            results.append(entry)
