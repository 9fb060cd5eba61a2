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
    image_id: int, detections: Detections, category_ids: tuple[int, ...]
) -> list[dict]:
    """One image's detections, in its own pixels, in COCO's result format.

    Args:
        category_ids: the file's id of each label.
    """
    boxes = detections.boxes.copy()
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
    """Protocol "coco": all images of the split, crowds as COCOeval does.

    Args:
        annotations: the split; see `ground_truth`.
        classes: names, 'background' first.
        results: detections of all images in COCO's result format.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
        truth = COCO()
        truth.dataset = ground_truth(annotations, classes)
        truth.createIndex()
        # loadRes fails on an empty list
        found = truth.loadRes(results) if results else no_results(truth)
        metric = (DifficultEval if annotations.format == "voc" else COCOeval)(truth, found, "bbox")
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


class DifficultEval(COCOeval):
    """COCOeval in which a "crowd" is one difficult object of Pascal VOC.

    Like a crowd it is neither found nor missed, however many detections lie on it; but these are
    compared with it by plain IoU, not by the share of them that lies inside.
    """

    def computeIoU(self, imgId, catId):
        objects = self._gts[imgId, catId]
        difficult = [item["iscrowd"] for item in objects]
        for item in objects:
            item["iscrowd"] = 0
        overlaps = super().computeIoU(imgId, catId)
        for item, flag in zip(objects, difficult):
            item["iscrowd"] = flag
        return overlaps


def ground_truth(annotations: Annotations, classes: tuple[str, ...]) -> dict:
    """The split as the content of a COCO json.

    COCO's is the file itself, unrepaired, so that AP is what others find for the same detections;
    the other formats' is made from the arrays.
    """
    if annotations.format == "coco":
        return mended(json.loads(annotations.source.read_bytes()))
    sides = annotations.boxes[:, 2:] - annotations.boxes[:, :2]
    rows = zip(
        annotations.image_ids[annotations.owners()].tolist(),
        annotations.labels.tolist(),
        annotations.crowd.tolist(),
        np.column_stack([annotations.boxes[:, :2], sides]).tolist(),
    )
    return {
        "images": [
            {
                "id": int(annotations.image_ids[index]),
                "file_name": annotations.file_name(index),
                "width": int(annotations.sizes[index, 0]),
                "height": int(annotations.sizes[index, 1]),
            }
            for index in range(len(annotations))
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": annotations.category_ids[label],
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": int(crowd),
            }
            for number, (image_id, label, crowd, bbox) in enumerate(rows, 1)
        ],
        "categories": [
            {"id": category_id, "name": name}
            for category_id, name in zip(annotations.category_ids, classes[1:])
        ],
    }


def mended(content: dict) -> dict:
    """COCO's json with what COCOeval needs and some files leave out.

    Annotation ids are counted anew: COCOeval takes one of 0 for "not matched", and duplicates for
    one object. A missing `iscrowd` is 0, an `area` that is no number that of the box.
    """
    for number, annotation in enumerate(content["annotations"], 1):
        annotation["id"] = number
        annotation.setdefault("iscrowd", 0)
        if type(annotation.get("area")) not in (int, float):
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    return content


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
