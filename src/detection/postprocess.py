"""Post-processing: from predictions to detections, each object once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.detection.boxes import area, clip, decode
from src.detection.nms import class_offset, nms, soft_nms
from src.detection.select import best_of_levels, best_predictions
from src.runtime.errors import NotFinite

LEAST_LOGIT = -80.0  # below, exp() overflows in float32; the score is 0 to 34 digits


@dataclass(frozen=True)
class Detections:
    """Boxes (D,4) float32, scores (D,) and labels (D,) 0..K-1 of one image, best score first."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray | slice) -> "Detections":
        """The detections at `rows`: indices, a mask or a slice."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def in_image(self, scale: np.ndarray, size: np.ndarray, *, mirrored: int = 0) -> "Detections":
        """The detections in the pixels of an image that was fitted to the network's input.

        Args:
            scale: (2,) network's pixels per pixel of the image, in x and y.
            size: (2,) the image's own width and height; boxes are clipped to it, and dropped if
                they have no area in it.
            mirrored: width of the network's input if that was mirrored, else 0.
        """
        boxes = self.boxes
        if mirrored:
            boxes = np.stack(
                [mirrored - boxes[:, 2], boxes[:, 1], mirrored - boxes[:, 0], boxes[:, 3]], axis=1
            )  # (D,4)
        boxes = clip(boxes / np.tile(scale, 2), *size)
        return replace(self, boxes=boxes).take(area(boxes) > 0)


@dataclass(frozen=True, kw_only=True)
class Postprocessor:
    """Picks the best predictions of an image, and the best of each object among them.

    Attributes:
        score_threshold: only higher scores count.
        candidates: P, best predictions that enter suppression; 0 takes all.
        per_level: if not 0, this many of each level enter suppression, and `candidates` is 0.
        nms_iou: of two boxes with a higher IoU the one of lower score is dropped.
        soft_sigma: if not 0, suppression lowers scores instead, by exp(-IoU^2 / soft_sigma), until
            they fall to the threshold.
        class_agnostic: boxes of different classes suppress each other too.
        max_detections: D, kept at the end; 0 keeps all.
        max_per_class: of each class; 0 keeps all.
        window: (4,) the part of the input that holds the image, None for all of it; predictions
            outside it are no candidates.
    """

    score_threshold: float
    candidates: int
    per_level: int = 0
    nms_iou: float
    soft_sigma: float = 0.0
    class_agnostic: bool = False
    max_detections: int
    max_per_class: int = 0
    window: np.ndarray | None = None

    def decoded(
        self,
        deltas: np.ndarray,
        logits: np.ndarray,
        anchors: np.ndarray,
        levels: Sequence[int] = (),
    ) -> Detections:
        """Candidates from deltas (A,4), logits (A,K) and anchors (A,4), in their pixels.

        The threshold is compared as a logit, so only candidates are scored and decoded.

        Args:
            levels: anchors of each level, for `per_level`.

        Raises:
            NotFinite: nan among the logits, or in a candidate's box.
        """
        rows, labels, best = self._best(logits, levels)
        boxes = decode(deltas[rows], anchors[rows])
        if self.window is not None and not is_in_window(boxes, self.window).all():
            # again, so that predictions outside the image take no places from others
            seen = is_in_window(decode(deltas, anchors), self.window)
            rows, labels, best = self._best(np.where(seen[:, None], logits, -np.inf), levels)
            boxes = decode(deltas[rows], anchors[rows])
        scores = 1 / (1 + np.exp(-np.maximum(best, LEAST_LOGIT)))
        return checked(Detections(boxes, scores, labels))

    def _best(self, logits: np.ndarray, levels: Sequence[int]) -> tuple[np.ndarray, ...]:
        least = logit(self.score_threshold)
        if self.per_level:
            return best_of_levels(logits, least, self.per_level, levels)
        return best_predictions(logits, least, self.candidates)

    def chosen(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Detections:
        """Candidates from boxes (R,4), scores (R,) and labels (R,) of a file, best first.

        Empty rows have a score of 0.
        """
        if np.isnan(scores).any():
            raise NotFinite("nan among the scores")
        kept = scores > self.score_threshold
        if self.window is not None:
            kept &= is_in_window(boxes, self.window)
        rows = np.flatnonzero(kept)[: self.candidates or None]
        return checked(Detections(boxes, scores, labels).take(rows))

    def __call__(self, found: Sequence[Detections]) -> Detections:
        """The detections of one image, in its own pixels: its candidates after suppression.

        Args:
            found: candidates of each view of the image that went through the network.
        """
        merged = found[0] if len(found) == 1 else best_first(found)
        merged = merged.take(slice(self.candidates or None))
        boxes = merged.boxes
        if not self.class_agnostic:
            boxes = class_offset(boxes, merged.labels)
        limit = 0 if self.max_per_class else self.max_detections
        if self.soft_sigma:
            kept, scores = soft_nms(
                boxes, merged.scores, sigma=self.soft_sigma, least=self.score_threshold, limit=limit
            )
            merged = replace(merged.take(kept), scores=scores.astype(np.float32))
        else:
            merged = merged.take(nms(boxes, self.nms_iou, limit))
        if self.max_per_class:
            merged = merged.take(rank_in_class(merged.labels) < self.max_per_class)
        return merged.take(slice(self.max_detections or None))


def is_in_window(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """(R,) whether a part of each of the boxes (R,4) is in the window (4,); true for nan."""
    beside = (boxes[:, 2:] <= window[:2]) | (boxes[:, :2] >= window[2:])  # (R,2)
    return ~beside.any(axis=1)


def checked(found: Detections) -> Detections:
    """The detections; NotFinite if a box is nan or infinite."""
    if not np.isfinite(found.boxes).all():
        raise NotFinite("a box that is nan or infinite")
    return found


def best_first(found: Sequence[Detections]) -> Detections:
    """The detections of several views in one, sorted by score."""
    boxes = np.concatenate([part.boxes for part in found])
    scores = np.concatenate([part.scores for part in found])
    labels = np.concatenate([part.labels for part in found])
    return Detections(boxes, scores, labels).take(np.argsort(-scores, kind="stable"))


def rank_in_class(labels: np.ndarray) -> np.ndarray:
    """(D,) how many detections of the same label come before each."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)  # its label's first
    return ranks


def logit(probability: float) -> float:
    """Inverse of the sigmoid; minus infinity at 0."""
    return math.log(probability / (1 - probability)) if probability > 0 else -math.inf


def build_postprocessor(cfg, **limits: float) -> Postprocessor:
    """The post-processing that the configuration asks for, with other `limits` if given."""
    settings = {
        "score_threshold": cfg.score_threshold,
        "candidates": 0 if cfg.candidates_per_level else cfg.pre_nms_top_k,
        "per_level": cfg.candidates_per_level,
        "max_detections": cfg.max_detections,
        "nms_iou": cfg.nms_iou,
        "soft_sigma": cfg.soft_sigma if cfg.suppression == "soft" else 0.0,
        "class_agnostic": cfg.class_agnostic,
    }
    return Postprocessor(**{**settings, **limits})
