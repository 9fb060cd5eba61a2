"""Kinds of detection errors and their cost in AP, after TIDE (Bolya et al., 2020).

Each false detection and each missed object has one kind. The cost of a kind is the rise of AP50 if
only its errors were fixed.
"""

from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations
from src.evaluation.curves import mean, recall_and_precision, sampled_ap
from src.evaluation.matching import MATCH_IOU, NOTHING, Matches

BACKGROUND_IOU = 0.1  # up to this a detection is unrelated to an object
CLASS, LOCALISATION, BOTH = "class", "localisation", "both"
DUPLICATE, BACKGROUND, MISSED = "duplicate", "background", "missed"
MEANINGS = {
    CLASS: "right place, wrong class",
    LOCALISATION: "right class, IoU 0.1 to 0.5 with an object",
    BOTH: "wrong class, and IoU 0.1 to 0.5 with an object",
    DUPLICATE: "on an object that a better detection found",
    BACKGROUND: "IoU at most 0.1 with any object",
    MISSED: "object with none of the above errors",
}
KINDS = tuple(MEANINGS)


@dataclass(frozen=True)
class Errors:
    """The errors of detections of all scores, and what each kind costs in AP50."""

    kind: np.ndarray  # (R,) index into KINDS, or NOTHING
    missed: np.ndarray  # (B,) bool, objects of the kind MISSED
    cost: dict[str, float]
    ap50: float  # as measured


def find_errors(annotations: Annotations, matches: Matches) -> Errors:
    """Sorts the false detections and the missed objects of a split into KINDS."""
    kind, goals, missed = sort_errors(annotations, matches)
    classes = len(annotations.category_ids)
    objects = np.bincount(annotations.labels[~annotations.crowd], minlength=classes)
    correct, counted = matches.found != NOTHING, ~matches.ignored
    ap50 = mean_ap(matches.score, matches.label, correct, counted, objects)

    def without(name: str) -> float:
        """AP50 with the errors of a kind fixed, or removed where they cannot be."""
        if name == MISSED:
            left = objects - np.bincount(annotations.labels[missed], minlength=classes)
            return mean_ap(matches.score, matches.label, correct, counted, left)
        of_kind = kind == KINDS.index(name)
        fixed = of_kind & (goals != NOTHING)
        right = correct | fixed
        label = matches.label.copy()
        label[fixed] = annotations.labels[goals[fixed]]
        kept = counted & (right | ~of_kind)
        return mean_ap(matches.score, label, right, kept, objects)

    # can be slightly negative, since precision is sampled at fixed recalls
    cost = {name: max(without(name) - ap50, 0.0) for name in KINDS}
    return Errors(kind, missed, cost, ap50)


def sort_errors(
    annotations: Annotations, matches: Matches
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kind of error (R,) of each detection, the object it would find without (R,); MISSED (B,)."""
    kind = kinds_of(matches)
    goals = fixable(matches, kind)
    missed = ~matches.object_found & ~annotations.crowd
    missed[goals[goals != NOTHING]] = False
    return kind, goals, missed


def count_errors(annotations: Annotations, matches: Matches) -> dict[str, int]:
    """How many errors of each kind there are."""
    kind, _, missed = sort_errors(annotations, matches)
    counts = {name: int((kind == number).sum()) for number, name in enumerate(KINDS)}
    return {**counts, MISSED: int(missed.sum())}


def kinds_of(matches: Matches) -> np.ndarray:
    """(R,) index into KINDS of each false detection; NOTHING for the others."""
    kind = np.full(len(matches.score), NOTHING)
    rules = {  # the first that holds
        LOCALISATION: (matches.own_iou >= BACKGROUND_IOU) & (matches.own_iou < MATCH_IOU),
        CLASS: matches.other_iou >= MATCH_IOU,
        DUPLICATE: matches.own_iou >= MATCH_IOU,
        BACKGROUND: np.maximum(matches.own_iou, matches.other_iou) <= BACKGROUND_IOU,
        BOTH: np.ones(len(kind), bool),
    }
    for name, holds in rules.items():
        kind[matches.is_wrong & holds & (kind == NOTHING)] = KINDS.index(name)
    return kind


def fixable(matches: Matches, kind: np.ndarray) -> np.ndarray:
    """(R,) object that a detection would find without its error, or NOTHING.

    Only unfound objects count, and only the best detection of kind CLASS or LOCALISATION on each;
    the others would be duplicates.
    """
    goals = np.full(len(kind), NOTHING)
    for name, nearest in ((CLASS, matches.other), (LOCALISATION, matches.own)):
        goals = np.where(kind == KINDS.index(name), nearest, goals)
    near = np.flatnonzero(goals != NOTHING)
    near = near[~matches.object_found[goals[near]]]
    near = near[np.argsort(-matches.score[near], kind="stable")]
    _, first = np.unique(goals[near], return_index=True)
    fixed = np.full(len(kind), NOTHING)
    fixed[near[first]] = goals[near[first]]
    return fixed


def mean_ap(
    score: np.ndarray,
    label: np.ndarray,
    correct: np.ndarray,
    counted: np.ndarray,
    objects: np.ndarray,
) -> float:
    """Mean AP, sampled as COCO does, over the classes with objects; nan without any.

    Args:
        score, label, correct, counted: (R,); `correct`: it found an object, `counted`: it counts.
        objects: (K,) objects of each class.
    """
    order = np.argsort(-score, kind="stable")
    order = order[counted[order]]
    order = order[np.argsort(label[order], kind="stable")]  # by class, best first
    starts = np.searchsorted(label[order], np.arange(len(objects) + 1))
    values = []
    for number in np.flatnonzero(objects > 0):
        mine = order[starts[number] : starts[number + 1]]
        recall, precision = recall_and_precision(correct[mine], int(objects[number]))
        values.append(sampled_ap(recall, precision))
    return mean(values)
