"""Signs of objects that share their box with another, or with those of other images."""

from collections.abc import Iterator

import numpy as np

from src.data.annotations import Annotations
from src.data.signs.given_boxes import FEW
from src.data.signs.sign import Sign, first_boxes, first_ids, those_found
from src.runtime.text import count

SAME = 0.9  # overlap (IoU) of two boxes that are of one object
# by which upper left corners may differ then, in x and y together, as a share of width and height
NEAR = 0.12
LEAST = 5  # objects, or images, for a sign
WHOLE = 0.99  # of an image's sides, for a box of all of it
MANY_IMAGES = 0.2  # that have one
OWN_CLASS = 0.8  # of a class's boxes that are whole: then it is what they are for, as a page
REPEATED = 0.1  # of the images that have one and the same box
SIZES = 3  # of images with the same box; an object before a fixed camera has one
OTHER_LABEL = 0.2  # of the same boxes, that are of another class than the most


def overlap_signs(annotations: Annotations) -> tuple[Sign, ...]:
    """What is suspicious about boxes that are, or nearly are, the same; crowds are left out."""
    own = np.flatnonzero(~annotations.crowd)
    boxes, owners = annotations.boxes[own].astype(np.float64), annotations.owners()[own]
    labels = annotations.labels[own]
    return those_found(
        *pair_signs(annotations, boxes, owners, labels),
        default_box(annotations, boxes, owners, labels),
        whole_among_others(annotations, boxes, owners, labels),
    )


def paired_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) IoU of each of the boxes (N,4) with its partner (N,4)."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=1)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)
    ]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-12)


def close_pairs(boxes: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """(P,2) indices of boxes (B,4) of one image, by owners (B,), that overlap by SAME or more."""
    place = boxes[:, :2].sum(axis=1)
    order = np.lexsort([place, owners])
    reach = place[order] + NEAR * (boxes[:, 2:] - boxes[:, :2]).sum(axis=1)[order]
    found, rows, step = [], np.arange(len(order)), 0
    while len(rows):  # those whose next ones may be near yet
        step += 1
        rows = rows[rows + step < len(order)]
        first, second = order[rows], order[rows + step]
        near = (owners[first] == owners[second]) & (place[second] <= reach[rows])
        rows, first, second = rows[near], first[near], second[near]
        same = paired_iou(boxes[first], boxes[second]) >= SAME
        found.append(np.stack([first[same], second[same]], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), np.int64)


def pair_signs(
    annotations: Annotations, boxes: np.ndarray, owners: np.ndarray, labels: np.ndarray
) -> Iterator[Sign]:
    """Many objects that are there twice, of one class or of two."""
    pairs = close_pairs(boxes, owners)
    alike = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    texts = (
        (
            "double_boxes",
            alike,
            "of the same class",
            "Probably objects are annotated twice, as where files were joined or tiles overlap",
            "keep one box of each object",
        ),
        (
            "two_classes",
            ~alike,
            "of another class",
            "Probably objects are annotated in two classes, as with a class and its kinds",
            "keep one class of each object: the network takes the other as wrong",
        ),
    )
    for name, which, whose, cause, advice in texts:
        rows = np.unique(pairs[which])
        if len(rows) < max(LEAST, FEW * len(boxes)):
            continue
        images = annotations.listed(np.unique(owners[rows]))
        yield Sign(
            name,
            found=f"{len(rows):,} of {count(len(boxes), 'object')} share their box with one "
            f"{whose}, by IoU {SAME:g} or more ({images})",
            cause=cause,
            advice=advice,
            **first_boxes(annotations.image_ids[owners[rows]], boxes[rows]),
        )


def default_box(
    annotations: Annotations, boxes: np.ndarray, owners: np.ndarray, labels: np.ndarray
) -> Sign | None:
    """One and the same box in many images, where others have their own; in pixels or in shares."""
    sizes = np.tile(annotations.sizes[owners], 2)  # (B,4)
    partial = (boxes[:, 2:] - boxes[:, :2] < WHOLE * sizes[:, :2]).any(axis=1)
    rows = np.flatnonzero(partial)
    if len(rows) < LEAST:
        return None
    for numbers in (boxes[rows], (boxes[rows] / sizes[rows]).round(5)):
        _, group, counts = np.unique(hashed(numbers), return_inverse=True, return_counts=True)
        most = int(counts.argmax())
        same = rows[group == most]
        images = np.unique(owners[same])
        if len(images) < max(LEAST, REPEATED * len(annotations)):
            continue
        if np.delete(counts, most).max(initial=1) >= counts[most] / 2:  # before a fixed camera
            continue
        of_sizes = len(np.unique(annotations.sizes[images], axis=0))
        others = 1 - np.bincount(labels[same]).max() / len(same)
        if of_sizes >= SIZES or others >= OTHER_LABEL:
            return default_sign(annotations, boxes[same[0]], images, of_sizes)
    return None


def hashed(rows: np.ndarray) -> np.ndarray:
    """(B,) a number for each of the rows (B,4), equal for equal ones."""
    bits = np.ascontiguousarray(rows + 0.0).view(np.uint64)  # of one zero
    factors = np.array([3, 5, 7, 11], np.uint64) * np.uint64(0x9E3779B97F4A7C15 | 1)
    mixed = bits * factors
    mixed ^= mixed >> np.uint64(29)
    return (mixed * factors[::-1]).sum(axis=1, dtype=np.uint64)


def default_sign(annotations: Annotations, box: np.ndarray, images: np.ndarray, sizes: int) -> Sign:
    """The sign of a box (4,) that is in all of the images (M,)."""
    numbers = ", ".join(f"{value:.6g}" for value in box)
    return Sign(
        "default_box",
        found=f"{len(images):,} of {count(len(annotations), 'image')} have one and the same box "
        f"(corners {numbers}; {annotations.listed(images)}), in images of {count(sizes, 'size')}",
        cause="Probably a tool's default, or a placeholder where nothing was annotated",
        advice="check some on the page that src.data.validate writes; leave it out where it is "
        "around no object",
        **first_boxes(annotations.image_ids[images], np.tile(box, (len(images), 1))),
    )


def whole_among_others(
    annotations: Annotations, boxes: np.ndarray, owners: np.ndarray, labels: np.ndarray
) -> Sign | None:
    """Boxes as large as their image in many images that have other objects too."""
    whole = (boxes[:, 2:] - boxes[:, :2] >= WHOLE * annotations.sizes[owners]).all(axis=1)
    classes = max(len(annotations.category_ids), 1)
    shares = np.bincount(labels[whole], minlength=classes) / np.maximum(
        np.bincount(labels, minlength=classes), 1
    )
    strange = whole & (shares < OWN_CLASS)[labels]
    images = np.bincount(owners[strange], minlength=len(annotations)) > 0
    images &= np.bincount(owners[~whole], minlength=len(annotations)) > 0
    if images.sum() < max(LEAST, MANY_IMAGES * len(annotations)):
        return None
    rows = np.flatnonzero(images)
    return Sign(
        "whole_image",
        found=f"{len(rows):,} of {count(len(annotations), 'image')} have a box as large as the "
        f"image beside other objects ({annotations.listed(rows)}), whose class has smaller ones "
        "too",
        cause="Probably labels of whole images were added to those of objects",
        advice="leave them out: a detector learns nothing from them",
        image_ids=first_ids(annotations.image_ids[rows]),
    )
