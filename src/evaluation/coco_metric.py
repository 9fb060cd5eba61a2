"""COCO's metric by faster-coco-eval, with the results of pycocotools in a seventh of the time."""

import contextlib
import io
from dataclasses import dataclass, field

import faster_coco_eval
import numpy as np
import pycocotools.coco
from pycocotools.cocoeval import COCOeval

from src.data.annotations import DIFFICULT, Annotations
from src.evaluation.curves import mean
from src.evaluation.results import as_dicts
from src.evaluation.voc_metric import voc_ap50

METRICS = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip
SIZES = ("all", "small", "medium", "large")
SMALL_AREA, LARGE_AREA = 32**2, 96**2  # square pixels, limits between the sizes


@dataclass(frozen=True)
class Metrics:
    """The metrics of an evaluation; nan where no object counts.

    Attributes:
        overall: METRICS by name; for Pascal VOC data also VOC50 and VOC07.
        by_class: by metric, such as "AP", and class name.
        objects: count by SIZES.
        precision: (10,101,K,4) at IoU 0.5 to 0.95, recall 0 to 1, by class and SIZES; -1 where no
            object counts.
    """

    overall: dict[str, float]
    by_class: dict[str, dict[str, float]]
    objects: dict[str, int]
    precision: np.ndarray = field(repr=False)


def evaluate(annotations: Annotations, classes: tuple[str, ...], rows: np.ndarray) -> Metrics:
    """COCO's metric over the images of `annotations`, crowds handled as COCOeval does.

    Args:
        annotations: the split, or the images that a protocol counts.
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
    # axes: IoU thresholds, recalls, classes by ascending id, sizes, detection limits
    columns = np.searchsorted(sorted(annotations.category_ids), annotations.category_ids)
    precision = np.asarray(metric.eval["precision"])[..., -1][:, :, columns]
    # pycocotools gives -1 where no object counts
    overall = {n: float(v) if v >= 0 else float("nan") for n, v in zip(METRICS, metric.stats)}
    by_class = {
        "AP": per_class(precision[..., 0], classes),
        "AP50": per_class(precision[:1, ..., 0], classes),
    }
    if annotations.regions == DIFFICULT:
        by_class["VOC50"], by_class["VOC07"] = voc_ap50(annotations, classes, rows)
        for name in ("VOC50", "VOC07"):
            overall[name] = mean(by_class[name].values())
    return Metrics(overall, by_class, count_sizes(annotations), precision)


def count_sizes(annotations: Annotations) -> dict[str, int]:
    """Objects without crowds by SIZES."""
    objects = annotations.objects()
    areas = objects["area"][~objects["crowd"]]
    small, large = int((areas <= SMALL_AREA).sum()), int((areas > LARGE_AREA).sum())
    counts = (len(areas), small, len(areas) - small - large, large)
    return dict(zip(SIZES, counts))


def indexed(library, content: dict):
    """A COCO object of the library, pycocotools or faster_coco_eval, for the content of a JSON."""
    coco = library.COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def as_annotations(rows: np.ndarray) -> list[dict]:
    """Detections (R,7) as COCO annotations: results with id, area and iscrowd."""
    return [
        {**entry, "id": number, "area": entry["bbox"][2] * entry["bbox"][3], "iscrowd": 0}
        for number, entry in enumerate(as_dicts(rows), 1)
    ]


class DifficultEval(COCOeval):
    """COCOeval in which a "crowd" is a difficult object of Pascal VOC.

    Like a crowd it is neither found nor missed and may have several detections, but these are
    matched by plain IoU.
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
    """The images, objects and categories of `annotations` as the content of a COCO JSON.

    Objects in COCO's format are as in the file, not repaired, so that AP equals pycocotools'. Ids
    start at 1: COCOeval uses 0 for "not matched".
    """
    images = zip(annotations.image_ids.tolist(), annotations.sizes.tolist())
    objects = annotations.objects().tolist()
    return {
        "images": [
            {"id": i, "file_name": annotations.file_name(n), "width": width, "height": height}
            for n, (i, (width, height)) in enumerate(images)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": annotations.category_ids[label],
                "bbox": box.tolist(),
                "area": area,
                "iscrowd": int(is_crowd),
            }
            for number, (image_id, label, box, area, is_crowd) in enumerate(objects, 1)
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
