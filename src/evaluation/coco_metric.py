"""COCO's metric, by faster-coco-eval: pycocotools' digits in a seventh of the time."""

import contextlib
import io
from dataclasses import dataclass, field

import faster_coco_eval
import numpy as np
import pycocotools.coco
from pycocotools.cocoeval import COCOeval

from src.data.annotations import DIFFICULT, Annotations
from src.evaluation.curves import mean
from src.evaluation.results import BOX, as_dicts
from src.evaluation.voc_metric import voc_ap50

METRICS = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
SIZES = ("all", "small", "medium", "large")
SMALL_AREA, LARGE_AREA = 32**2, 96**2  # square pixels of the image, between the sizes


@dataclass(frozen=True)
class Metrics:
    """The numbers of an evaluation; nan where nothing counts.

    Attributes:
        overall: COCO's twelve numbers by name; of Pascal VOC's data its own two as well.
        by_class: for each number that is worked out by class, "AP" say, its values by class name.
        objects: how many of each of SIZES.
        precision: (10,101,K,4) at IoU 0.5 to 0.95, recalls 0 to 1, by class and SIZES; -1 where no
            object counts.
    """

    overall: dict[str, float]
    by_class: dict[str, dict[str, float]]
    objects: dict[str, int]
    precision: np.ndarray = field(repr=False)

    @property
    def class_ap(self) -> dict[str, float]:
        return self.by_class["AP"]

    def numbers(self) -> dict[str, dict]:
        """All but the curves."""
        return {"overall": self.overall, "by_class": self.by_class, "objects": self.objects}


def evaluate(annotations: Annotations, classes: tuple[str, ...], rows: np.ndarray) -> Metrics:
    """COCO's metric over the images of `annotations`, crowds handled as COCOeval does.

    Args:
        annotations: the split, or the images of it that a protocol counts.
        classes: names, 'background' first.
        rows: (R,7) detections in COCO's array form.
    """
    if annotations.regions == DIFFICULT:
        library, evaluator = pycocotools.coco, DifficultEval
    else:
        library, evaluator = faster_coco_eval, faster_coco_eval.COCOeval_faster
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
        truth = indexed(library, ground_truth(annotations, classes))
        found = indexed(library, {**truth.dataset, "annotations": as_annotations(rows)})
        metric = evaluator(truth, found, "bbox")
        metric.params.catIds = list(annotations.category_ids)
        metric.params.imgIds = [int(i) for i in annotations.image_ids]
        metric.evaluate()
        metric.accumulate()
        metric.summarize()
    # (IoU thresholds, recalls, classes, sizes, limits on detections), classes by ascending id
    columns = np.searchsorted(sorted(annotations.category_ids), annotations.category_ids)
    precision = np.asarray(metric.eval["precision"])[..., -1][:, :, columns]
    overall = dict(zip(METRICS, (as_number(v) for v in metric.stats)))
    by_class = {
        "AP": per_class(precision[..., 0], classes),
        "AP50": per_class(precision[:1, ..., 0], classes),
    }
    if annotations.regions == DIFFICULT:
        by_class["VOC50"], by_class["VOC07"] = voc_ap50(annotations, classes, rows)
        for name in ("VOC50", "VOC07"):
            overall[name] = mean(by_class[name].values())
    return Metrics(overall, by_class, count_sizes(truth), precision)


def count_sizes(truth) -> dict[str, int]:
    """Objects, without crowds, in all and of each size."""
    areas = np.array(
        [entry["area"] for entry in truth.dataset["annotations"] if not entry["iscrowd"]]
    )
    small, large = int((areas <= SMALL_AREA).sum()), int((areas > LARGE_AREA).sum())
    counts = (len(areas), small, len(areas) - small - large, large)
    return dict(zip(SIZES, counts))


def indexed(library, content: dict):
    """The content of a COCO json as an object of a library with pycocotools' interface."""
    coco = library.COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def as_annotations(rows: np.ndarray) -> list[dict]:
    """Detections (R,7) with what the metric wants to know beside COCO's result format."""
    areas = rows[:, BOX][:, 2] * rows[:, BOX][:, 3]
    return [
        {**entry, "id": number, "area": area, "iscrowd": 0}
        for number, (entry, area) in enumerate(zip(as_dicts(rows), areas.tolist()), 1)
    ]


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
    """The images, objects and categories of `annotations` as the content of a COCO json.

    Objects of COCO's format are those of the file, unrepaired, so that AP is what pycocotools finds
    for the same detections. They are numbered from 1: COCOeval takes the id 0 for "not matched".
    """
    objects = annotations.objects()
    rows = zip(
        objects["image_id"].tolist(),
        objects["label"].tolist(),
        objects["box"].tolist(),
        objects["area"].tolist(),
        objects["crowd"].tolist(),
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
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for number, (image_id, label, box, area, crowd) in enumerate(rows, 1)
        ],
        "categories": [
            {"id": category_id, "name": name}
            for category_id, name in zip(annotations.category_ids, classes[1:])
        ],
    }


def per_class(precision: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    """Mean over thresholds and recalls of precision (T,R,K), by class name."""
    values = np.where((precision > -1).all(axis=(0, 1)), precision.mean(axis=(0, 1)), np.nan)
    return dict(zip(classes[1:], values.tolist()))


def as_number(value: float) -> float:
    """pycocotools writes -1 where no object counts; nan says so."""
    return float("nan") if value < 0 else float(value)
