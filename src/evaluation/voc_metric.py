"""Pascal VOC's metric: AP at IoU 0.5, difficult objects neither found nor missed."""

import numpy as np

from src.data.annotations import Annotations
from src.detection.boxes import iou
from src.evaluation.curves import recall_and_precision, sampled_ap
from src.evaluation.matching import MATCH_IOU
from src.evaluation.results import CATEGORY, SCORE, placed

POINTS = np.linspace(0, 1, 11)  # recalls at which VOC 2007 sampled precision


def voc_ap50(
    annotations: Annotations, classes: tuple[str, ...], rows: np.ndarray
) -> tuple[dict[str, float], dict[str, float]]:
    """AP50 of each class, by the area under the curve and by VOC 2007's eleven points.

    A detection is assigned to the object of its class with the highest IoU, at least 0.5; the best
    one of each object is right. Source: VOC development kit (Everingham et al., 2010).

    Args:
        rows: (R,7) detections in COCO's array form.
    """
    rows = rows[np.argsort(-rows[:, SCORE], kind="stable")]
    images, corners = placed(annotations, rows)
    area, eleven = {}, {}
    for label, (category, name) in enumerate(zip(annotations.category_ids, classes[1:])):
        own = annotations.labels == label
        objects = int((own & ~annotations.crowd).sum())
        mine = rows[:, CATEGORY] == category
        assigned = nearest_object(annotations, label, images[mine], corners[mine])
        ignored = np.isin(assigned, np.flatnonzero(annotations.crowd))
        _, first = np.unique(assigned, return_index=True)
        correct = np.zeros(len(assigned), bool)
        correct[first] = assigned[first] >= 0
        if objects == 0:
            area[name] = eleven[name] = float("nan")
            continue
        recall, precision = recall_and_precision(correct[~ignored], objects)
        area[name] = float((np.diff(recall, prepend=0) * precision).sum())
        eleven[name] = sampled_ap(recall, precision, POINTS)
    return area, eleven


def nearest_object(
    annotations: Annotations, label: int, images: np.ndarray, corners: np.ndarray
) -> np.ndarray:
    """(R,) index of the box of the class that each detection is assigned to; -1 for none."""
    assigned = np.full(len(images), -1)
    order = np.argsort(images, kind="stable")
    indices, starts = np.unique(images[order], return_index=True)
    for index, mine in zip(indices, np.split(order, starts[1:])):
        boxes = np.arange(annotations.offsets[index], annotations.offsets[index + 1])
        boxes = boxes[annotations.labels[boxes] == label]
        if len(boxes):
            overlap = iou(corners[mine], annotations.boxes[boxes].astype(np.float64))
            near = overlap.max(axis=1) >= MATCH_IOU
            assigned[mine[near]] = boxes[overlap.argmax(axis=1)[near]]
    return assigned
