"""Signs of a split as it was read: its files and classes, and images of both splits."""

import os
from collections import defaultdict

import numpy as np

from src.data.annotations import Annotations
from src.data.signs.sign import MAX_IMAGES, Sign, first_ids
from src.runtime.text import count, listed


def same_file(annotations: Annotations) -> Sign | None:
    """Several images with one file, under names that may be spelled in other ways."""
    names = [annotations.file_name(row) for row in range(len(annotations))]
    if len(set(names)) == len(names) and not any("./" in name or "//" in name for name in names):
        return None
    found = defaultdict(list)
    for row, name in enumerate(names):
        found[os.path.normpath(name)].append(row)
    groups = [rows for rows in found.values() if len(rows) > 1]
    if not groups:
        return None
    return Sign(
        "same_file",
        found=f"{count(len(groups), 'file')} used for several images "
        f"({listed([spelled(annotations, rows) for rows in groups])})",
        cause="Objects of one entry are background in the other, if they are not in both",
        advice="join the entries",
        certain=any(boxes_differ(annotations, rows) for rows in groups),
        groups=first_groups(annotations, groups),
    )


def spelled(annotations: Annotations, rows: list[int]) -> str:
    """The first images of a group that are one file: "a.jpg (line 1) = ./a.jpg (line 7)"."""
    return " = ".join(
        f"{annotations.file_name(row)} ({annotations.where(row)})" for row in rows[:3]
    )


def first_groups(annotations: Annotations, groups: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    """Ids of the images of groups (rows), those with different boxes first."""
    order = sorted(groups, key=lambda rows: not boxes_differ(annotations, rows))
    return tuple(tuple(annotations.image_ids[rows].tolist()) for rows in order[:MAX_IMAGES])


def boxes_differ(annotations: Annotations, rows: list[int]) -> bool:
    """Whether boxes or labels of the images `rows` are not all the same."""
    first, *others = (annotations[row] for row in rows)
    return not all(
        np.array_equal(first.boxes, other.boxes) and np.array_equal(first.labels, other.labels)
        for other in others
    )


def unused_classes(annotations: Annotations, names: tuple[str, ...]) -> Sign | None:
    """Classes, of K names, that no object of the training split has."""
    objects = annotations.labels[~annotations.crowd]
    counts = np.bincount(objects, minlength=len(names))
    unused = [repr(name) for name, number in zip(names, counts) if number == 0]
    if not unused or len(objects) == 0:
        return None
    verb = "has" if len(unused) == 1 else "have"
    return Sign(
        "unused_class",
        found=f"{listed(unused, 10)} of the {len(names)} in classes {verb} no object",
        cause="The network cannot learn what it never sees",
        advice="annotate such objects, or leave the names out of classes",
    )


def no_objects(annotations: Annotations) -> Sign | None:
    """A split to evaluate on without objects."""
    if len(annotations) == 0 or not annotations.crowd.all():
        return None
    return Sign(
        "no_objects",
        found=f"no objects in {count(len(annotations), 'image')} to evaluate on",
        cause="Probably a split without published annotations, or another one's",
        advice="AP is not defined on it; use another split, or train with --eval_interval=0",
        certain=True,
        image_ids=first_ids(annotations.image_ids),
    )


def leak(training: Annotations, evaluation: Annotations) -> Sign | None:
    """Files that are in both splits."""
    ids = dict(zip(file_paths(training), training.image_ids.tolist()))
    shared = [(row, ids[path]) for row, path in enumerate(file_paths(evaluation)) if path in ids]
    return leaked(shared, training, evaluation)


def leaked(
    shared: list[tuple[int, int]], training: Annotations, evaluation: Annotations
) -> Sign | None:
    """The sign of images (row of evaluation, id in training) that are in both splits."""
    if not shared:
        return None
    row_of = {image_id: row for row, image_id in enumerate(training.image_ids.tolist())}
    pairs = [(evaluation.file_name(row), training.file_name(row_of[i])) for row, i in shared]
    names = [own if own == other else f"{own} as {other}" for own, other in pairs]
    images = len(evaluation)
    number = "all" if len(shared) == images else f"{len(shared):,} of"
    return Sign(
        "leak",
        found=f"{number} {count(images, 'image')} to evaluate on are in the training split too "
        f"({listed(names)})",
        cause="AP says nothing about new images where the network has learnt these",
        advice="take them out of one of the splits",
        groups=tuple(
            (image_id, int(evaluation.image_ids[row])) for row, image_id in shared[:MAX_IMAGES]
        ),
        across=True,
    )


def file_paths(annotations: Annotations) -> list[str]:
    """The absolute path of every image, without links in its folder's path."""
    root = os.path.realpath(annotations.image_dir)
    names = map(annotations.file_name, range(len(annotations)))
    return [os.path.normpath(os.path.join(root, name)) for name in names]
