"""Which anchor learns which object."""

import heapq

import numpy as np

from src.detection.boxes import area, intersection

BACKGROUND = -1
IGNORED = -2
CROWD_SHARE = 0.5  # an anchor is ignored from this share of its area inside a crowd region


class Assigner:
    """Max-IoU assignment of objects to anchors, with one forced box for every object.

    Args:
        anchors: (A,4).
        positive_iou: from this IoU on an anchor learns the object it overlaps most.

    Source: SSD (Liu et al., 2016, section 2.2), with the forced boxes shared out by IoU.
    """

    def __init__(self, anchors: np.ndarray, *, positive_iou: float):
        # one contiguous row for each coordinate: the arithmetic runs over A
        self.x1, self.y1, self.x2, self.y2 = np.ascontiguousarray(anchors.T, np.float32)
        self.area = (self.x2 - self.x1) * (self.y2 - self.y1)
        self.anchors = anchors
        self.positive_iou = positive_iou

    def __call__(self, boxes: np.ndarray, crowd: np.ndarray) -> np.ndarray:
        """For each anchor the index of its object, BACKGROUND or IGNORED.

        Args:
            boxes: (G,4) of positive area, crowd regions included.
            crowd: (G,) bool; a crowd region is never learnt as an object.

        Returns:
            (A,) int16, an index into `boxes` where >= 0.

        A box whose IoU with its best object is at least `positive_iou` learns that object (the
        first of equals). Then every object takes the anchor of highest IoU; where two want
        the same, the better IoU keeps it and the other takes its next best. Only an object that
        overlaps no free anchor goes without.
        """
        assigned = np.full(len(self.area), BACKGROUND, np.int16)
        self._ignore_crowds(assigned, boxes[crowd])
        objects = np.flatnonzero(~crowd)
        if len(objects) == 0:
            return assigned
        overlaps = self._iou(boxes[objects])  # (G,A)
        positive = np.flatnonzero(overlaps.max(axis=0) >= self.positive_iou)
        assigned[positive] = objects[overlaps[:, positive].argmax(axis=0)]
        for row, anchor in forced_boxes(overlaps):
            assigned[anchor] = objects[row]
        return assigned

    def _iou(self, boxes: np.ndarray) -> np.ndarray:
        """IoU (G,A) of objects (G,4) with all anchors.

        One object at a time, so that the buffers stay in the cache: faster than operations over
        (G,A) as a whole.
        """
        overlaps = np.empty((len(boxes), len(self.area)), np.float32)
        buffer = np.empty(len(self.area), np.float32)
        for overlap, (x1, y1, x2, y2), own in zip(overlaps, boxes.astype(np.float32), area(boxes)):
            np.minimum(self.x2, x2, out=overlap)
            overlap -= np.maximum(self.x1, x1, out=buffer)
            np.maximum(overlap, 0, out=overlap)
            height = np.minimum(self.y2, y2)
            height -= np.maximum(self.y1, y1, out=buffer)
            np.maximum(height, 0, out=height)
            overlap *= height
            union = np.add(self.area, np.float32(own), out=buffer)
            union -= overlap
            overlap /= union
        return overlaps

    def _ignore_crowds(self, assigned: np.ndarray, regions: np.ndarray) -> None:
        if len(regions):
            inside = intersection(regions.astype(np.float32), self.anchors)  # (regions,A)
            assigned[(inside >= CROWD_SHARE * self.area).any(axis=0)] = IGNORED


def forced_boxes(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """One anchor for each object, (row, column) of `overlaps` (G,A); no column comes twice.

    Of two objects that want the same anchor the better IoU gets it (the first of equals) and
    the other asks for its next best free one. An object that overlaps no free one gets none.
    """
    favourites = overlaps.argmax(axis=1)
    wishes = [(-overlaps[row, column], row, column) for row, column in enumerate(favourites)]
    heapq.heapify(wishes)  # the best IoU is served first
    taken: list[int] = []
    pairs = []
    while wishes:
        _, row, column = heapq.heappop(wishes)
        if column in taken:
            free = overlaps[row].copy()
            free[taken] = -1
            column = free.argmax()
            if free[column] > 0:
                heapq.heappush(wishes, (-free[column], row, column))
        else:
            taken.append(column)
            pairs.append((row, int(column)))
    return pairs


def build_assigner(cfg, anchors: np.ndarray) -> Assigner:
    """The assignment of the configuration to anchors (A,4)."""
    return Assigner(anchors, positive_iou=cfg.positive_iou)
