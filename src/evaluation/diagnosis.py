"""Diagnosis at IoU 0.5: confusion matrix, calibration of scores, choice of a threshold."""

from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations
from src.detection.boxes import iou
from src.evaluation.matching import MATCH_IOU, NOTHING, Matches

BINS = 10  # of scores from 0 to 1
THRESHOLDS = np.linspace(0, 1, 101)


def confusion_matrix(annotations: Annotations, matches: Matches) -> np.ndarray:
    """Counts (K+1,K+1) by true class (rows) and detected class (columns); the last is background.

    A false detection on an unfound object of another class confuses the two classes, the best such
    detection per object. Other false detections are background, other unfound objects are missed.
    Detections on crowd regions do not count.
    """
    count = len(annotations.category_ids)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    hits = np.flatnonzero(matches.found != NOTHING)
    np.add.at(matrix, (matches.label[hits], matches.label[hits]), 1)
    taken = annotations.crowd.copy()
    taken[matches.found[hits]] = True

    rest = np.flatnonzero(matches.is_wrong)
    for row in rest[np.argsort(-matches.score[rest], kind="stable")]:
        confused = free_object(annotations, matches, row, taken)
        true = count
        if confused != NOTHING:
            true = annotations.labels[confused]
            taken[confused] = True
        matrix[true, matches.label[row]] += 1
    np.add.at(matrix[:, count], annotations.labels[~taken], 1)
    return matrix


def free_object(annotations: Annotations, matches: Matches, row: int, taken: np.ndarray) -> int:
    """The object of another class, not `taken` (B,), that detection `row` overlaps, or NOTHING."""
    if matches.other_iou[row] < MATCH_IOU:
        return NOTHING
    image = matches.image[row]
    objects = np.arange(annotations.offsets[image], annotations.offsets[image + 1])
    objects = objects[~taken[objects] & (annotations.labels[objects] != matches.label[row])]
    if len(objects) == 0:
        return NOTHING
    places = annotations.boxes[objects].astype(np.float64)
    overlap = iou(matches.corners[row : row + 1], places)[0]
    return int(objects[overlap.argmax()]) if overlap.max() >= MATCH_IOU else NOTHING


@dataclass(frozen=True)
class Calibration:
    """Precision in BINS of the score; nan in a bin without detections."""

    count: np.ndarray  # (BINS,) detections
    score: np.ndarray  # (BINS,) mean score
    right: np.ndarray  # (BINS,) share that found an object
    error: float  # expected calibration error, mean of |score - right| over the detections


def calibrate(matches: Matches) -> Calibration:
    """Compares scores with precision (Guo et al., 2017)."""
    counted = ~matches.ignored
    scores, right = matches.score[counted], matches.found[counted] != NOTHING
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    some = np.where(count, count, np.nan)
    mean_score = np.bincount(bins, scores, BINS) / some
    share = np.bincount(bins, right, BINS) / some
    gaps = np.abs(mean_score - share)
    error = float(np.nansum(gaps * count) / count.sum()) if len(scores) else float("nan")
    return Calibration(count, mean_score, share, error)


@dataclass(frozen=True)
class Tradeoff:
    """Precision, recall and F1 (101,) at THRESHOLDS of the score, all classes together."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    lowest: float  # score of a detection; the curves are flat below it

    def best(self) -> int:
        """Index of the threshold with the highest F1."""
        return int(np.nanargmax(np.append(self.f1, 0)) % len(self.f1))


def trade_off(annotations: Annotations, matches: Matches) -> Tradeoff:
    """Precision, recall and F1 at each score threshold."""
    counted = ~matches.ignored
    objects = int((~annotations.crowd).sum())

    def at_least(scores: np.ndarray) -> np.ndarray:
        return len(scores) - np.searchsorted(np.sort(scores), THRESHOLDS)

    hits = at_least(matches.score[counted & (matches.found != NOTHING)])
    detections = at_least(matches.score[counted])
    precision = np.where(detections, hits / np.maximum(detections, 1), np.nan)
    recall = hits / objects if objects else np.full(len(hits), np.nan)
    f1 = 2 * hits / np.maximum(detections + objects, 1)
    return Tradeoff(precision, recall, f1, float(matches.score.min(initial=1)))
