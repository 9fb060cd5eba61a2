"""The images of an epoch, and how often each comes: repeat-factor sampling of rare classes."""

import numpy as np

from src.data.annotations import Annotations
from src.runtime.text import listed

SHOWN_CLASSES = 20  # in one line
PARTS = 2**20  # factors are multiples of 1 / PARTS, so that their sum is exact in any order


def repeat_factors(annotations: Annotations, threshold: float) -> np.ndarray:
    """How often an epoch has each image on average, (I,), at least 1.

    A class that a share f of the images has is repeated max(1, sqrt(threshold / f)) times, and an
    image as its rarest class; ignored regions do not count. Source: LVIS (Gupta et al., 2019,
    appendix B).
    """
    image, label = annotations.class_pairs()
    shares = np.bincount(label) / len(annotations)
    factors = np.ones(len(annotations))
    np.maximum.at(factors, image, np.sqrt(threshold / shares[label]))
    return np.round(factors * PARTS) / PARTS


def repeated(factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples (M,) in random order, of image i floor(f) or ceil(f) ones, f = factors[i].

    Copy number c of image i of I is sample i + c I, so that each copy is augmented differently.
    Every epoch has M = floor(sum of factors). Which images come once more is drawn by
    systematic sampling: their fractions, laid end to end in a random order, are scaled to a whole
    sum, and points at distances of 1 choose the images.
    """
    counts = np.floor(factors).astype(int)
    fractions = factors - counts
    more = int(fractions.sum())
    if more:
        order = rng.permutation(len(factors))
        ends = np.cumsum(fractions[order])
        points = (np.arange(more) + rng.random()) * (ends[-1] / more)
        counts[order[np.searchsorted(ends, points, side="right")]] += 1
    firsts = np.cumsum(counts) - counts
    copies = np.arange(counts.sum()) - np.repeat(firsts, counts)
    return rng.permutation(np.repeat(np.arange(len(factors)), counts) + copies * len(factors))


def class_images(annotations: Annotations, threshold: float) -> np.ndarray:
    """How many images of an epoch have an object of each class, on average: (K,)."""
    image, label = annotations.class_pairs()
    factors = repeat_factors(annotations, threshold)
    return np.bincount(label, factors[image], minlength=len(annotations.category_ids))


def images_per_epoch(annotations: Annotations, threshold: float) -> int:
    """Images of an epoch: all, and with a threshold the sum of their factors, rounded down."""
    if not threshold:
        return len(annotations)
    return int(repeat_factors(annotations, threshold).sum())


def describe_repeats(annotations: Annotations, threshold: float) -> str:
    """How long an epoch gets, and the most that an image is repeated, as text."""
    most, total = repeat_factors(annotations, threshold).max(), len(annotations)
    images = images_per_epoch(annotations, threshold)
    return (
        f"repeat_threshold {threshold:g}: an epoch takes {images:,} images from {total:,}, those "
        f"of the rarest class {most:.1f} times each"
    )


def describe_class_repeats(
    annotations: Annotations, names: tuple[str, ...], threshold: float
) -> str:
    """The images of an epoch that have each class, without and with repeats, the rarest first."""
    before, after = (class_images(annotations, value) for value in (0.0, threshold))
    parts = [
        f"{names[label]} {before[label]:,.0f} -> {after[label]:,.0f}"
        for label in np.argsort(before, kind="stable")
        if before[label]
    ]
    return f"images of an epoch by class, without and with repeats: {listed(parts, SHOWN_CLASSES)}"
