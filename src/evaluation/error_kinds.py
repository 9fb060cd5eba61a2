"""What kinds of error a detector makes, and the AP that each costs.

After TIDE (Bolya et al., 2020): every false detection and every missed object gets one kind, and a
kind costs what AP50 would rise by if all errors of that kind, and they alone, were mended.
"""

from dataclasses import dataclass

import numpy as np

from src.data.annotations import Annotations
from src.evaluation.curves import mean, recall_and_precision, sampled_ap
from src.evaluation.matching import MATCH_IOU, NOTHING, Matches

BACKGROUND_IOU = 0.1  # up to which a detection has nothing to do with an object
CLASS, LOCALISATION, BOTH = "class", "localisation", "both"
DUPLICATE, BACKGROUND, MISSED = "duplicate", "background", "missed"
KINDS = (CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED)
MEANINGS = {
    CLASS: "right place, wrong class",
    LOCALISATION: "right class, IoU 0.1 to 0.5 with an object",
    BOTH: "wrong class, and IoU 0.1 to 0.5 with an object",
    DUPLICATE: "on an object that a better detection had found",
    BACKGROUND: "IoU at most 0.1 with any object",
    MISSED: "object that none of the above came near to",
}


@dataclass(frozen=True)
class Errors:
    """Errors by kind.

    Attributes:
        kind: (R,) of each detection, an index into KINDS, or NOTHING.
        missed: (B,) bool, objects of the kind MISSED.
        counts: how many of each kind.
        cost: AP50 that each kind costs.
        ap50: what is measured against.
    """

    kind: np.ndarray
    missed: np.ndarray
    counts: dict[str, int]
    cost: dict[str, float]
    ap50: float


def find_errors(annotations: Annotations, matches: Matches) -> Errors:
    """Sorts the false detections and the missed objects of a split into KINDS."""
    kind = kinds_of(matches)
    goals = mendable(matches, kind)
    missed = ~matches.object_found & ~annotations.crowd
    missed[goals[goals != NOTHING]] = False
    counts = {name: int((kind == number).sum()) for number, name in enumerate(KINDS)}
    counts[MISSED] = int(missed.sum())

    classes = len(annotations.category_ids)
    objects = np.bincount(annotations.labels[~annotations.crowd], minlength=classes)
    correct, counted = matches.found != NOTHING, ~matches.ignored
    ap50 = mean_ap(matches.score, matches.label, correct, counted, objects)

    def without(name: str) -> float:
        """AP50 with the errors of a kind mended, or gone where they cannot be."""
        if name == MISSED:
            left = objects - np.bincount(annotations.labels[missed], minlength=classes)
            return mean_ap(matches.score, matches.label, correct, counted, left)
        of_kind = kind == KINDS.index(name)
        mended = of_kind & (goals != NOTHING)
        right = correct | mended
        label = matches.label.copy()
        label[mended] = annotations.labels[goals[mended]]
        kept = counted & (right | ~of_kind)
        return mean_ap(matches.score, label, right, kept, objects)

    # sampling precision at fixed recalls can make it a little less
    cost = {name: max(without(name) - ap50, 0.0) for name in KINDS}
    return Errors(kind, missed, counts, cost, ap50)


def kinds_of(matches: Matches) -> np.ndarray:
    """(R,) the kind of each false detection, an index into KINDS; NOTHING for the others."""
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


def mendable(matches: Matches, kind: np.ndarray) -> np.ndarray:
    """(R,) object that a detection would find without its error, or NOTHING.

    It is one for which no detection is right; of several on it, of the kinds CLASS and
    LOCALISATION, the best one is mended. The others would be duplicates.
    """
    goals = np.full(len(kind), NOTHING)
    for name, nearest in ((CLASS, matches.other), (LOCALISATION, matches.own)):
        goals = np.where(kind == KINDS.index(name), nearest, goals)
    near = np.flatnonzero(goals != NOTHING)
    near = near[~matches.object_found[goals[near]]]
    near = near[np.argsort(-matches.score[near], kind="stable")]
    _, first = np.unique(goals[near], return_index=True)
    mended = np.full(len(kind), NOTHING)
    mended[near[first]] = goals[near[first]]
    return mended


def mean_ap(
    score: np.ndarray,
    label: np.ndarray,
    correct: np.ndarray,
    counted: np.ndarray,
    objects: np.ndarray,
) -> float:
    """Mean over the classes that have objects of AP as COCO samples it; nan without any.

    Args:
        score, label, correct, counted: (R,) of each detection: its score and class, whether it is
            right, and whether it counts.
        objects: (K,) of each class.
    """
    order = np.argsort(-score, kind="stable")
    order = order[counted[order]]
    order = order[np.argsort(label[order], kind="stable")]  # by class, and best first
    starts = np.searchsorted(label[order], np.arange(len(objects) + 1))
    values = []
    for number in np.flatnonzero(objects > 0):
        mine = order[starts[number] : starts[number + 1]]
        recall, precision = recall_and_precision(correct[mine], int(objects[number]))
        values.append(sampled_ap(recall, precision))
    return mean(values)
