"""Signs of images without objects that were probably not annotated."""

import re

import numpy as np

from src.data.annotations import Annotations
from src.data.signs.sign import Sign, first_ids
from src.runtime.text import count

LEAST_EMPTY, LEAST_OTHERS = 10, 5  # images without objects, and with objects, for a block
MANY = 0.2  # of a split's images, for a block, or where the other split has far fewer
TIMES = 3  # as many as in the other split
CHANCE = 3.0  # standard deviations between the shares of two splits
MOST = 2 / 3  # of a split that no other can be compared with
NUMBER = re.compile(r"(\d+)")
ADVICE = (
    "an image without objects is trained on as background, and objects in it as such; annotate "
    "them, or leave these images out with --keep_empty=False"
)


def unannotated_block(annotations: Annotations) -> Sign | None:
    """Images without objects that are all at the end, or at the beginning, by their names."""
    empty = annotations.object_counts() == 0
    number = int(empty.sum())
    if number < max(LEAST_EMPTY, MANY * len(empty)) or len(empty) - number < LEAST_OTHERS:
        return None
    names = [annotations.file_name(row) for row in range(len(empty))]
    order = np.array(sorted(range(len(names)), key=lambda row: natural(names[row])))
    if (np.diff(empty[order].astype(int)) != 0).sum() != 1:
        return None
    if empty[order[0]]:
        order, place = order[::-1], "before"
    else:
        place = "after"
    last, first = (names[order[len(order) - number + step]] for step in (-1, 0))
    if NUMBER.sub("", last) != NUMBER.sub("", first):  # named after what is in them
        return None
    return Sign(
        "empty_images",
        found=f"{number:,} of {count(len(empty), 'image')} have no objects, all of them "
        f"{place} {last}",
        cause="Probably whoever annotated them in that order has not come so far",
        advice=ADVICE,
        image_ids=first_ids(annotations.image_ids[empty]),
    )


def natural(name: str) -> list:
    """A key that sorts names with numbers as people do."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in NUMBER.split(name)]


def mostly_empty(training: Annotations) -> Sign | None:
    """Most images to train on have no objects, and no other split tells whether that is right."""
    empty = training.object_counts() == 0
    if not (empty.sum() >= LEAST_EMPTY and MOST <= empty.mean() < 1):
        return None
    return empty_sign(training, empty, "")


def unlike_empty(training: Annotations, evaluation: Annotations) -> Sign | None:
    """Far more images without objects in one split than in the other."""
    both = [split.object_counts() == 0 for split in (training, evaluation)]
    if min(map(len, both)) == 0:
        return None
    trained, evaluated = (empty.mean() for empty in both)
    larger, smaller = max(trained, evaluated), min(trained, evaluated)
    pooled = np.concatenate(both).mean()
    spread = np.sqrt(pooled * (1 - pooled) * sum(1 / len(empty) for empty in both))
    if larger in (0, 1) or larger < max(MANY, TIMES * smaller):
        return None
    if larger - smaller < CHANCE * spread:
        return None
    of, empty = (training, both[0]) if trained > evaluated else (evaluation, both[1])
    role = "training" if of is training else "evaluation"
    other = f", {smaller:.0%} of those to {'evaluate' if of is training else 'train'} on"
    return empty_sign(of, empty, other, role)


def empty_sign(split: Annotations, empty: np.ndarray, other: str, role: str = "training") -> Sign:
    """The sign of images without objects, (I,) bool."""
    rows = np.flatnonzero(empty)
    is_training = role == "training"
    return Sign(
        "empty_images",
        found=f"{len(rows):,} of {count(len(empty), 'image')} to "
        f"{'train' if is_training else 'evaluate'} on have no objects, {empty.mean():.0%}{other} "
        f"({split.listed(rows)})",
        cause="Probably a part of them is not annotated, or lost its annotations"
        if is_training
        else "Probably a part of them is not annotated; or training lacks images without objects",
        advice=ADVICE
        if is_training
        else "annotate them, since what is found there counts as wrong; or train on images without "
        "objects too",
        image_ids=first_ids(split.image_ids[rows]) if is_training else (),
    )
