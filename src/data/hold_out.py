"""Splits a training split: a share of its images, by class, is evaluated and not trained on."""

import hashlib
import os
import re

import numpy as np

from src.data.annotations import Annotations
from src.runtime.errors import InputError
from src.runtime.text import count

MUCH = 2.0  # times the share that was asked for
LEAST = 2  # images of a class of which one is held out
# Roboflow's name for one of several changed copies of an image, which belong together
COPY = re.compile(r"\.rf\.[0-9A-Fa-f]{32}(?=\.\w+$)")


def held_out(annotations: Annotations, share: float) -> np.ndarray:
    """Which of the images are held out: (I,) bool, about a `share` of those of each class.

    Classes with the fewest images choose first, by a hash of the images' names without folders. So
    the choice depends on names, objects and share alone, not on the order of images and classes.
    Entries of one file, and copies of one image, stay together. Images without objects count as a
    class of their own.

    Raises:
        InputError: nothing would be left on one of the sides.
    """
    keys = [group_of(annotations.file_name(index)) for index in range(len(annotations))]
    names = sorted(set(keys), key=rank)
    row_of = {name: row for row, name in enumerate(names)}
    rows = np.array([row_of[key] for key in keys], np.int64)  # (I,) group of each image
    has = classes_of(annotations, rows, len(names))  # (groups,K+1)
    chosen = np.zeros(len(names), bool)
    totals = has.sum(axis=0)
    # of equally rare ones the order of classes, which differs between formats, does not decide
    for label in sorted(range(len(totals)), key=lambda i: (totals[i], *np.flatnonzero(has[:, i]))):
        wanted = int(share * totals[label] + 0.5)
        if totals[label] >= LEAST:
            wanted = max(wanted, 1)
        wanted -= int((has[:, label] & chosen).sum())
        free = np.flatnonzero(has[:, label] & ~chosen)
        chosen[free[: max(wanted, 0)]] = True
    if chosen.all() or not chosen.any():
        raise InputError(
            f"{annotations.source}: val_share is {share:g} of {count(len(names), 'image')}, which "
            f"leaves none to {'train on' if chosen.any() else 'evaluate'}"
        )
    return chosen[rows]


def group_of(name: str) -> str:
    """The same text for spellings of one file, and for copies of one image."""
    return COPY.sub("", os.path.normpath(name))


def rank(name: str) -> tuple[bytes, bytes]:
    """The place of an image in the order of choice, by its name first, then by its folders."""
    plain, whole = os.fsencode(os.path.basename(name)), os.fsencode(name)
    return hashlib.sha256(plain).digest(), hashlib.sha256(whole).digest()


def classes_of(annotations: Annotations, rows: np.ndarray, groups: int) -> np.ndarray:
    """Which classes each group of images has, and last whether it has none: (groups,K+1) bool."""
    kinds = len(annotations.category_ids) + 1
    has = np.zeros((groups, kinds), bool)
    image, label = annotations.class_pairs()
    has[rows[image], label] = True
    has[:, -1] = ~has.any(axis=1)
    return has


def describe(
    trained: Annotations, evaluated: Annotations, classes: tuple[str, ...], share: float
) -> str:
    """For the log: how many images of each class are held out, and why if far above the share."""
    total = len(trained) + len(evaluated)
    held, kept = (
        np.bincount(split.class_pairs()[1], minlength=len(classes) - 1)
        for split in (evaluated, trained)
    )
    parts = [f"{name} {a:,} of {a + b:,}" for name, a, b in zip(classes[1:], held, kept)]
    more = ""
    if len(evaluated) > MUCH * share * total:
        more = f", more than val_share {share:g}, for one of each class of {LEAST} or more"
    return (
        f"{trained.source}: {len(evaluated):,} of {count(total, 'image')} held out for evaluation"
        f"{more}, by class: {', '.join(parts)}"
    )


def listing(evaluated: Annotations) -> str:
    """The images that are held out, a line each."""
    names = sorted(evaluated.file_name(index) for index in range(len(evaluated)))
    return "".join(f"{name}\n" for name in names)
