"""Matches detections with objects at one IoU."""

from dataclasses import dataclass, fields

import numpy as np

from src.data.annotations import DIFFICULT, Annotations
from src.detection.boxes import area, intersection, iou
from src.evaluation.results import CATEGORY, SCORE, placed

MATCH_IOU = 0.5  # least IoU of a match
NOTHING = -1


@dataclass(frozen=True)
class Matches:
    """The R detections of a split, best score first within an image, and its B annotated boxes.

    Objects are indices into the boxes.

    Attributes:
        image: (R,) index of the image.
        label: (R,) 0..K-1.
        score: (R,).
        corners: (R,4) x1 y1 x2 y2 in pixels.
        found: (R,) object found, or NOTHING; each is found once, by the best of its class.
        ignored: (R,) found nothing, but is on a crowd region or difficult object of its class.
        own, own_iou: (R,) object of the same class with the highest IoU, and the IoU.
        other, other_iou: (R,) the same among objects of other classes.
        object_found: (B,) bool.
    """

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    corners: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    own: np.ndarray
    own_iou: np.ndarray
    other: np.ndarray
    other_iou: np.ndarray
    object_found: np.ndarray

    @property
    def is_wrong(self) -> np.ndarray:
        """(R,) whether a detection counts as false."""
        return (self.found == NOTHING) & ~self.ignored


def match_split(annotations: Annotations, rows: np.ndarray) -> Matches:
    """Compares detections (R,7), in COCO's array form, with the objects of a split."""
    label_of = {category: label for label, category in enumerate(annotations.category_ids)}
    image, corners = placed(annotations, rows)
    order = np.lexsort([-rows[:, SCORE], image])  # stable: equal scores keep their order
    rows, image, corners = rows[order], image[order], corners[order]
    count = len(rows)
    matches = Matches(
        image=image,
        label=np.array([label_of[int(c)] for c in rows[:, CATEGORY]], np.int64),
        score=rows[:, SCORE],
        corners=corners,
        found=np.full(count, NOTHING),
        ignored=np.zeros(count, bool),
        own=np.full(count, NOTHING),
        own_iou=np.zeros(count),
        other=np.full(count, NOTHING),
        other_iou=np.zeros(count),
        object_found=np.zeros(len(annotations.boxes), bool),
    )
    starts = np.searchsorted(image, np.arange(len(annotations) + 1))
    for index in np.unique(image).tolist():
        match_image(matches, slice(starts[index], starts[index + 1]), annotations, index)
    return matches


def from_score(matches: Matches, min_score: float) -> Matches:
    """The matches without detections of lower scores."""
    kept = matches.score >= min_score
    found = matches.found[kept]
    object_found = np.zeros_like(matches.object_found)
    object_found[found[found != NOTHING]] = True  # the best detection finds an object
    columns = [one.name for one in fields(Matches)[:-1]]  # all but object_found
    rows = {name: getattr(matches, name)[kept] for name in columns}
    return Matches(**rows, object_found=object_found)


def match_image(matches: Matches, mine: slice, annotations: Annotations, index: int) -> None:
    """Fills in the detections `mine` of image `index`."""
    boxes = np.arange(annotations.offsets[index], annotations.offsets[index + 1])
    crowd = annotations.crowd[boxes]
    objects, regions = boxes[~crowd], boxes[crowd]
    corners, labels = matches.corners[mine], matches.label[mine]
    if len(objects):
        overlap = iou(corners, annotations.boxes[objects].astype(np.float64))  # (R,G)
        same = labels[:, None] == annotations.labels[objects]
        own, other = np.where(same, overlap, 0), np.where(same, 0, overlap)
        matches.own[mine], matches.own_iou[mine] = nearest(own, objects)
        matches.other[mine], matches.other_iou[mine] = nearest(other, objects)
        for row in np.flatnonzero(own.max(axis=1) >= MATCH_IOU):
            best = int(own[row].argmax())
            if own[row, best] >= MATCH_IOU:
                matches.found[mine.start + row] = objects[best]
                matches.object_found[objects[best]] = True
                own[:, best] = 0  # found once
    if len(regions):
        places = annotations.boxes[regions].astype(np.float64)
        if annotations.regions == DIFFICULT:
            overlap = iou(corners, places)
        else:  # COCO's crowds: the share of the detection inside
            overlap = intersection(corners, places) / np.maximum(area(corners), 1e-9)[:, None]
        overlap = np.where(labels[:, None] == annotations.labels[regions], overlap, 0)
        matches.ignored[mine] = (matches.found[mine] == NOTHING) & (
            overlap.max(axis=1) >= MATCH_IOU
        )


def nearest(overlap: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) the object of (G,) with the highest overlap (R,G), or NOTHING; and that overlap."""
    best = overlap.argmax(axis=1)
    highest = overlap.max(axis=1)
    return np.where(highest > 0, objects[best], NOTHING), highest
