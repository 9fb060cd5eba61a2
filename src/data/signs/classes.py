"""Signs of classes that one split lacks, or whose names hardly differ."""

import re
import unicodedata
from collections import defaultdict

import numpy as np

from src.data.annotations import Annotations
from src.data.signs.sign import Sign, first_ids
from src.runtime.text import listed

EXPECTED = 5.0  # objects to evaluate on by a class's share in training, for none to be no chance
PARTED = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=[^\W\d_])")  # what separates words: between letters
LEAST_LETTERS = 3  # of a name, for one with an s at its end to be the same


def alike_classes(names: tuple[str, ...]) -> Sign | None:
    """Classes that are probably one, whose names differ in nothing that is said."""
    spellings = defaultdict(list)
    for name in names:
        spellings[spelled(name)].append(name)
    groups = [
        *(group for group in spellings.values() if len(group) > 1),
        *(
            [spellings[one][0], spellings[f"{one}s"][0]]
            for one in list(spellings)
            if len(one) >= LEAST_LETTERS and f"{one}s" in spellings
        ),
    ]
    if not groups:
        return None
    alike = [" = ".join(map(repr, group)) for group in groups]
    return Sign(
        "alike_classes",
        found=f"{listed(alike)} are different classes, of {len(names)}",
        cause="Probably one class, which was written in several ways",
        advice="write one name in the annotations: of objects that look the same the network "
        "learns to prefer neither",
    )


def spelled(name: str) -> str:
    """A name without case, its characters' form and what parts words; one letter as it is."""
    plain = unicodedata.normalize("NFKC", name).strip()
    return PARTED.sub("", plain).casefold() if len(plain) > 1 else plain


def absent_class(
    training: Annotations, evaluation: Annotations, names: tuple[str, ...]
) -> Sign | None:
    """Classes that are frequent in the training split and have no object to evaluate on."""
    counts = [
        np.bincount(split.labels[~split.crowd], minlength=len(names))
        for split in (training, evaluation)
    ]
    if not counts[1].any():  # of which another sign tells
        return None
    expected = counts[1].sum() * counts[0] / max(counts[0].sum(), 1)
    absent = np.flatnonzero((counts[1] == 0) & (expected >= EXPECTED))
    if len(absent) == 0:
        return None
    shown = [f"{names[label]!r} ({counts[0][label]:,} in training)" for label in absent]
    return Sign(
        "absent_class",
        found=f"{listed(shown)} of the {len(names)} classes: no object to evaluate on",
        cause="AP says nothing about them; probably another split's images, or not annotated",
        advice="annotate them there, or divide the images anew with --val_share",
        image_ids=first_ids(images_of(training, absent[0])),
    )


def images_of(split: Annotations, label: int) -> np.ndarray:
    """The ids of the images that have an object of a class, in order."""
    image, labels = split.class_pairs()
    return split.image_ids[image[labels == label]]
