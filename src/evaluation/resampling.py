"""The difference of two detectors' AP on resampled images: a paired bootstrap.

Images are drawn with replacement as often as there are (Efron & Tibshirani, 1993, chapter 6), the
same ones for both detectors. Detections are matched once; a resample only weighs images.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycocotools.coco
from pycocotools.cocoeval import COCOeval

from src.data.annotations import DIFFICULT, Annotations
from src.evaluation.coco_metric import DifficultEval, as_annotations, indexed
from src.evaluation.curves import RECALLS
from src.evaluation.protocol import MAX_PER_CLASS

RESAMPLES = 1000  # the interval's ends then vary by about a twentieth of its width
INTERVAL = (2.5, 97.5)  # percentiles, 95 %
AT_ONCE = 50  # resamples; their arrays take some 100 MB for COCO's largest class


@dataclass(frozen=True)
class ClassMatches:
    """The D detections of a class, best score first, in a split of I images.

    Attributes:
        image: (D,) index of the image.
        right: (T,D) whether it found an object, at each of COCO's IoUs.
        counted: (T,D) False on crowd regions and the like.
        objects: (I,) objects of each image.
    """

    image: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Difference:
    """AP of this detector less another's: as measured, and over the resamples."""

    measured: float
    low: float  # ends of the interval; nan where no resample has an object
    high: float
    higher: float  # share of the resamples in which this one's AP is higher
    resamples: int
    seed: int


def match_classes(annotations: Annotations, truth: dict, rows: np.ndarray) -> list[ClassMatches]:
    """COCO's matches of detections (R,7) of each class, by pycocotools.

    Args:
        truth: the ground truth as the content of a COCO JSON.
    """
    evaluator = DifficultEval if annotations.regions == DIFFICULT else COCOeval
    ids = annotations.image_ids.tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        coco = indexed(pycocotools.coco, truth)
        found = indexed(pycocotools.coco, {**truth, "annotations": as_annotations(rows)})
        metric = evaluator(coco, found, "bbox")
        metric.params.areaRng, metric.params.areaRngLbl = metric.params.areaRng[:1], ["all"]
        metric.params.maxDets = [MAX_PER_CLASS]
        metric.params.imgIds, metric.params.catIds = ids, list(annotations.category_ids)
        metric.evaluate()
    index = {image_id: number for number, image_id in enumerate(ids)}
    images = len(ids)  # by class, and within a class by id
    return [
        gathered(metric.evalImgs[first : first + images], index, len(metric.params.iouThrs))
        for first in range(0, len(metric.evalImgs), images)
    ]


def gathered(entries: Sequence[dict | None], index: dict[int, int], ious: int) -> ClassMatches:
    """The matches of a class of pycocotools' evalImgs, one entry for each image."""
    entries = [entry for entry in entries if entry is not None]
    objects = np.zeros(len(index), np.int64)
    for entry in entries:
        objects[index[entry["image_id"]]] = int((np.asarray(entry["gtIgnore"]) == 0).sum())
    images = [np.full(len(e["dtScores"]), index[e["image_id"]], np.int64) for e in entries]
    scores = np.concatenate([np.zeros(0), *(e["dtScores"] for e in entries)])
    found = np.concatenate([np.zeros((ious, 0)), *(e["dtMatches"] for e in entries)], axis=1)
    ignored = np.concatenate([np.zeros((ious, 0)), *(e["dtIgnore"] for e in entries)], axis=1) > 0
    order = np.argsort(-scores, kind="stable")
    image = np.concatenate([np.zeros(0, np.int64), *images])[order]
    return ClassMatches(image, ((found > 0) & ~ignored)[:, order], ~ignored[:, order], objects)


def weighted_ap(classes: Sequence[ClassMatches], weights: np.ndarray) -> np.ndarray:
    """AP (B,) of each of B sets in which an image is `weights` (B,I) times; nan without objects."""
    total, counted = np.zeros(len(weights)), np.zeros(len(weights), np.int64)
    for one in classes:
        objects = weights @ one.objects  # (B,)
        if not objects.any():
            continue
        total += class_ap(one, weights, np.maximum(objects, 1)) * (objects > 0)
        counted += objects > 0
    return np.where(counted, total / np.maximum(counted, 1), np.nan)


def class_ap(one: ClassMatches, weights: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """AP (B,) of a class that has `objects` (B,) of at least 1, the mean over COCO's IoUs.

    Precision rises only at right detections, so recall and precision are computed at these alone.
    """
    copies = weights[:, one.image]  # (B,D)
    seen = np.cumsum(copies, axis=1, dtype=np.int32)
    total = np.zeros(len(weights))
    for right, counted in zip(one.right, one.counted):
        at = np.flatnonzero(right)
        hits = np.cumsum(copies[:, at], axis=1, dtype=np.int32)  # (B,H)
        precision = hits / np.maximum(seen[:, at] - ignored_before(copies, counted, at), 1)
        falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALLS, hits / objects[:, None], side="right")
        # recalls that a hit is the first to reach; a hit of an image that is not there has none,
        # and the recall of 0 is reached by the first hit
        reached[hits == 0] = 0
        total += (falling * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return total / len(one.right)


def ignored_before(copies: np.ndarray, counted: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Copies (B,D) of detections that are not counted (D,) before each of those `at` (H,): (B,H).

    They are few, so this is faster than another sum over all.
    """
    ignored = np.flatnonzero(~counted)
    sums = np.zeros((len(copies), len(ignored) + 1), np.int32)
    np.cumsum(copies[:, ignored], axis=1, out=sums[:, 1:])
    return sums[:, np.searchsorted(ignored, at)]


def resampled_difference(
    mine: Sequence[ClassMatches],
    other: Sequence[ClassMatches],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Difference:
    """The difference of AP and its interval, from `resamples` draws of the images."""
    images = len(mine[0].objects)
    rng = np.random.default_rng(seed)
    differences = []
    for done in range(0, resamples, AT_ONCE):
        drawn = rng.integers(images, size=(min(AT_ONCE, resamples - done), images))
        weights = np.stack([np.bincount(row, minlength=images) for row in drawn]).astype(np.int32)
        differences.append(weighted_ap(mine, weights) - weighted_ap(other, weights))
    found = np.concatenate(differences)
    found = found[~np.isnan(found)]
    once = np.ones((1, images), np.int64)
    measured = float(weighted_ap(mine, once)[0] - weighted_ap(other, once)[0])
    low, high = np.percentile(found, INTERVAL).tolist() if len(found) else (np.nan, np.nan)
    higher = float((found > 0).mean()) if len(found) else np.nan
    return Difference(measured, low, high, higher, resamples, seed)
