"""Which anchor learns which object."""

import heapq
from abc import ABC, abstractmethod

import numpy as np

from src.detection.anchors import AnchorGenerator, build_anchors
from src.detection.boxes import area, intersection

BACKGROUND = -1
IGNORED = -2
CROWD_SHARE = 0.5  # an anchor is ignored from this share of its area inside a crowd region
MIN_INSIDE = 0.01  # pixels from an anchor's centre to the object's edges, as in the code of ATSS


class Assigner(ABC):
    """Assigns anchors to the objects of an image; a subclass says how in `match`.

    To add one, write a subclass and a function that builds it, enter that in ASSIGNERS, and name it
    at `assigner` in config/default.yaml. Threads share an assigner, so a call must not change it.

    Args:
        anchors: (A,4) float32.
    """

    positive_iou: float | None = None  # IoU from which an anchor learns an object, if one is fixed

    def __init__(self, anchors: np.ndarray):
        self.anchors = anchors
        self.area = area(anchors)  # (A,)

    @abstractmethod
    def match(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The anchors that learn an object: their indices (M,), and the row of each one's object.

        If an anchor comes twice, the last one counts.

        Args:
            boxes: (G,4) float32 of positive area, G >= 1, without crowd regions.
        """

    def __call__(self, boxes: np.ndarray, crowd: np.ndarray) -> np.ndarray:
        """For each anchor the index of its object in `boxes`, BACKGROUND or IGNORED: (A,) int16.

        An anchor that matches no object is ignored if CROWD_SHARE of it is inside a crowd region.

        Args:
            boxes: (G,4) of positive area, crowd regions included.
            crowd: (G,) bool; a crowd region is never learnt as an object.
        """
        assigned = np.full(len(self.anchors), BACKGROUND, np.int16)
        if crowd.any():
            inside = intersection(boxes[crowd].astype(np.float32), self.anchors)  # (regions,A)
            assigned[(inside >= CROWD_SHARE * self.area).any(axis=0)] = IGNORED
        objects = np.flatnonzero(~crowd)
        if len(objects):
            matched, rows = self.match(boxes[objects].astype(np.float32))
            assigned[matched] = objects[rows]
        return assigned

    def anchor_counts(self, boxes: np.ndarray, crowd: np.ndarray) -> np.ndarray:
        """How many anchors learn each of the boxes (G,4): (G,), 0 for crowd regions (G,)."""
        assigned = self(boxes, crowd)
        return np.bincount(assigned[assigned >= 0], minlength=len(boxes))


class MaxIoUAssigner(Assigner):
    """Each anchor learns the object it overlaps most, and each object has an anchor of its own.

    An anchor whose IoU with its best object is at least `positive_iou` learns that object (the
    first of equals). Then every object takes the anchor of highest IoU, see `forced_boxes`.

    Source: SSD (Liu et al., 2016, section 2.2); sharing out the forced anchors by IoU is our own.
    """

    def __init__(self, anchors: np.ndarray, *, positive_iou: float):
        super().__init__(anchors)
        # one contiguous row for each coordinate: the arithmetic runs over A
        self.x1, self.y1, self.x2, self.y2 = np.ascontiguousarray(anchors.T, np.float32)
        self.positive_iou = positive_iou

    def match(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        overlaps = self._iou(boxes)  # (G,A)
        positive = np.flatnonzero(overlaps.max(axis=0) >= self.positive_iou)
        rows = overlaps[:, positive].argmax(axis=0)
        forced = np.array(forced_boxes(overlaps), np.int64).reshape(-1, 2)
        return np.append(positive, forced[:, 1]), np.append(rows, forced[:, 0])

    def _iou(self, boxes: np.ndarray) -> np.ndarray:
        """IoU (G,A) of objects (G,4) with all anchors.

        The loop over objects keeps the buffers in the cache: 4 to 10 times as fast as `boxes.iou`.
        """
        overlaps = np.empty((len(boxes), len(self.area)), np.float32)
        buffer = np.empty(len(self.area), np.float32)
        for overlap, (x1, y1, x2, y2), own in zip(overlaps, boxes, area(boxes)):
            np.minimum(self.x2, x2, out=overlap)
            overlap -= np.maximum(self.x1, x1, out=buffer)
            np.maximum(overlap, 0, out=overlap)
            height = np.minimum(self.y2, y2)
            height -= np.maximum(self.y1, y1, out=buffer)
            np.maximum(height, 0, out=height)
            overlap *= height
            union = np.add(self.area, own, out=buffer)
            union -= overlap
            overlap /= union
        return overlaps


class ATSSAssigner(Assigner):
    """Each object has a threshold of its own, from the IoU of the anchors nearest to it.

    Its candidates are all anchors of the `candidates` cells of each level whose centres are nearest
    to its own, see `AnchorGenerator.nearest`. A candidate learns the object if its IoU is at least
    the mean plus the standard deviation (of a sample: n - 1) of all candidates' and its centre is
    inside the object. An anchor that several objects claim learns the one of highest IoU (the first
    of equals). Then every object without an anchor takes its best free candidate, see
    `forced_boxes`.

    Source: ATSS (Zhang et al., 2020, algorithm 1) and its authors' code; the last rule is our own.
    """

    def __init__(self, anchors: AnchorGenerator, image_size: tuple[int, int], *, candidates: int):
        super().__init__(anchors.boxes(image_size))
        self.generator = anchors
        self.image_size = image_size
        self.candidates = candidates

    def match(self, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes = boxes.astype(np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        candidates = self.generator.nearest(centres, self.image_size, self.candidates)  # (G,M)
        overlaps, inside = self._compare(boxes[:, None], candidates)
        thresholds = overlaps.mean(axis=1) + overlaps.std(axis=1, ddof=1)
        rows, places = np.nonzero(inside & (overlaps >= thresholds[:, None]))
        order = np.lexsort((-rows, overlaps[rows, places]))  # last: highest IoU, then first object
        owners = np.full(len(self.area), BACKGROUND)
        owners[candidates[rows, places][order]] = rows[order]
        self._give_free_candidates(owners, candidates, overlaps)
        matched = np.flatnonzero(owners >= 0)
        return matched, owners[matched]

    def _compare(self, boxes: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """IoU (G,M) of boxes (G,1,4) and their candidates, and whether their centres are inside."""
        anchors = self.anchors[candidates].astype(np.float64)  # (G,M,4)
        low = np.maximum(anchors[..., :2], boxes[..., :2])
        sides = np.maximum(np.minimum(anchors[..., 2:], boxes[..., 2:]) - low, 0)
        shared = sides[..., 0] * sides[..., 1]
        overlaps = shared / (area(anchors) + area(boxes) - shared)
        centres = (anchors[..., :2] + anchors[..., 2:]) / 2
        depth = np.minimum(centres - boxes[..., :2], boxes[..., 2:] - centres)  # (G,M,2)
        return overlaps, depth.min(axis=2) > MIN_INSIDE

    def _give_free_candidates(
        self, owners: np.ndarray, candidates: np.ndarray, overlaps: np.ndarray
    ) -> None:
        """Enters a free candidate in `owners` (A,) for each object that owns no anchor."""
        counts = np.bincount(owners[owners >= 0], minlength=len(candidates))
        rest = np.flatnonzero(counts == 0)  # (R,) objects without an anchor
        if not len(rest):
            return
        wanted = candidates[rest]  # (R,M)
        values = np.where(owners[wanted] < 0, overlaps[rest], 0)
        anchors, columns = np.unique(wanted, return_inverse=True)
        table = np.zeros((len(rest), len(anchors)))
        np.put_along_axis(table, columns.reshape(wanted.shape), values, axis=1)
        for row, column in forced_boxes(table):
            owners[anchors[column]] = rest[row]


def forced_boxes(overlaps: np.ndarray) -> list[tuple[int, int]]:
    """One anchor for each object, (row, column) of `overlaps` (G,A); no column comes twice.

    Of two objects with the same best anchor the one of higher IoU takes it (the first of equals),
    and the other its next best free one. An object that overlaps no free anchor has none.
    """
    best_columns = overlaps.argmax(axis=1)
    queue = [(-overlaps[row, column], row, column) for row, column in enumerate(best_columns)]
    queue = [entry for entry in queue if entry[0] < 0]
    heapq.heapify(queue)  # highest IoU first
    taken: list[int] = []
    pairs = []
    while queue:
        _, row, column = heapq.heappop(queue)
        if column in taken:
            free = overlaps[row].copy()
            free[taken] = -1
            column = free.argmax()
            if free[column] > 0:
                heapq.heappush(queue, (-free[column], row, column))
        else:
            taken.append(column)
            pairs.append((row, int(column)))
    return pairs


def build_max_iou(cfg, anchors: AnchorGenerator) -> MaxIoUAssigner:
    """The assigner of the SSD paper, which does not distinguish levels."""
    return MaxIoUAssigner(anchors.boxes(cfg.image_size), positive_iou=cfg.positive_iou)


def build_atss(cfg, anchors: AnchorGenerator) -> ATSSAssigner:
    """The assigner of the ATSS paper."""
    return ATSSAssigner(anchors, cfg.image_size, candidates=cfg.atss_candidates)


# builders by the names in the configuration; each takes it and the generator of the anchors
ASSIGNERS = {"max_iou": build_max_iou, "atss": build_atss}


def build_assigner(cfg) -> Assigner:
    """The assigner that the configuration asks for."""
    return ASSIGNERS[cfg.assigner](cfg, build_anchors(cfg))
