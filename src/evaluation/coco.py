"""COCO's box metric, computed by pycocotools."""

import contextlib
import io
import json
from dataclasses import dataclass

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from src.data.annotations import Annotations
from src.detection.postprocess import Detections

METRICS = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip


@dataclass(frozen=True)
class Metrics:
    """COCO's twelve numbers by name, and AP and AP50 of each class; nan where nothing counts."""

    overall: dict[str, float]
    class_ap: dict[str, float]
    class_ap50: dict[str, float]


def coco_results(
    image_id: int, detections: Detections, scale: np.ndarray, category_ids: tuple[int, ...]
) -> list[dict]:
    """One image's detections in COCO's result format.

    Args:
        scale: (2,) factors in x and y from the network's pixels to the image's own.
        category_ids: the file's id of each label.
    """
    boxes = detections.boxes * np.tile(scale, 2)
    boxes[:, 2:] -= boxes[:, :2]  # x, y, width, height
    return [
        {
            "image_id": int(image_id),
            "category_id": int(category_ids[label]),
            "bbox": [round(float(v), 3) for v in box],
            "score": round(float(score), 6),
        }
        for box, score, label in zip(boxes, detections.scores, detections.labels)
    ]


def evaluate(annotations: Annotations, classes: tuple[str, ...], results: list[dict]) -> Metrics:
    """Protocol "coco": all images of the split against its own file, crowds as COCOeval does.

    Args:
        annotations: the split; its source file is read again as the ground truth.
        classes: names, 'background' first.
        results: detections of all images in COCO's result format.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
        truth = ground_truth(annotations)
        # loadRes fails on an empty list
        found = truth.loadRes(results) if results else no_results(truth)
        metric = COCOeval(truth, found, "bbox")
        metric.params.catIds = list(annotations.category_ids)
        metric.params.imgIds = [int(i) for i in annotations.image_ids]
        metric.evaluate()
        metric.accumulate()
        metric.summarize()
    overall = dict(zip(METRICS, (as_number(v) for v in metric.stats)))
    # (IoU thresholds, recalls, classes, areas, limits on detections); -1 where no object counts
    precision = metric.eval["precision"][:, :, :, 0, -1]
    return Metrics(
        overall=overall,
        class_ap=per_class(precision, annotations.category_ids, classes),
        class_ap50=per_class(precision[:1], annotations.category_ids, classes),
    )


def ground_truth(annotations: Annotations) -> COCO:
    """The split's own file, with what COCOeval needs and some files leave out.

    Annotation ids are counted anew: COCOeval takes one of 0 for "not matched", and duplicates for
    one object. A missing `iscrowd` is 0, a missing `area` that of the box.
    """
    truth = COCO()
    content = json.loads(annotations.source.read_bytes())
    content["annotations"] = [
        {
            **annotation,
            "id": number,
            "iscrowd": annotation.get("iscrowd", 0),
            "area": annotation.get("area", annotation["bbox"][2] * annotation["bbox"][3]),
        }
        for number, annotation in enumerate(content["annotations"], 1)
    ]
    truth.dataset = content
    truth.createIndex()
    return truth


def no_results(truth: COCO) -> COCO:
    """What loadRes would give for a split on which nothing was detected."""
    empty = COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def per_class(
    precision: np.ndarray, category_ids: tuple[int, ...], classes: tuple[str, ...]
) -> dict[str, float]:
    """Mean over thresholds and recalls of precision (T,R,K), by class name.

    COCOeval sorts categories by id, whatever order they were given in.
    """
    columns = sorted(category_ids)
    values = {}
    for category_id, name in zip(category_ids, classes[1:]):
        own = precision[:, :, columns.index(category_id)]
        values[name] = float(own.mean()) if (own > -1).all() else float("nan")
    return values


def as_number(value: float) -> float:
    """pycocotools writes -1 where no object counts; nan says so."""
    return float("nan") if value < 0 else float(value)
