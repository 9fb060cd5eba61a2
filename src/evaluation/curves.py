"""Precision over recall."""

from collections.abc import Iterable

import numpy as np

RECALLS = np.linspace(0, 1, 101)  # where COCO samples precision


def recall_and_precision(correct: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and (non-increasing) precision (R,) up to each detection, best first."""
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(correct) + 1)
    return hits / objects, np.maximum.accumulate(precision[::-1])[::-1]


def sampled_ap(recall: np.ndarray, precision: np.ndarray, recalls: np.ndarray = RECALLS) -> float:
    """Mean precision at `recalls`; 0 beyond the highest recall."""
    at = np.searchsorted(recall, recalls, side="left")
    return float(np.append(precision, 0.0)[at].mean())


def mean(values: Iterable[float]) -> float:
    """Mean of the non-nan values; nan if none."""
    counted = [value for value in values if not np.isnan(value)]
    return float(np.mean(counted)) if counted else float("nan")
