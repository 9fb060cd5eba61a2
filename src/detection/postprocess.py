"""From the network's raw outputs to detections."""

import math
from dataclasses import dataclass

import numpy as np

from src.detection.boxes import area, clip, decode, iou


@dataclass(frozen=True)
class Detections:
    """Boxes (D,4) float32, scores (D,) and labels (D,) 0..K-1 of one image, best score first."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def in_image(self, scale: np.ndarray, size: np.ndarray) -> "Detections":
        """The same in the pixels of an image that was fitted to the network's input.

        Args:
            scale: (2,) network's pixels per pixel of the image, in x and y.
            size: (2,) the image's own width and height; boxes are clipped to it, and those in the
                margin beside it dropped.
        """
        boxes = clip(self.boxes / np.tile(scale, 2), *size)
        inside = area(boxes) > 0
        return Detections(boxes[inside], self.scores[inside], self.labels[inside])


class Postprocessor:
    """Scores, decodes and thins out the predictions of one image.

    Args:
        anchors: default boxes (A,4).
        image_size: (height, width) of the network's input; boxes are clipped to it.
        score_threshold: lower scores are dropped.
        nms_iou: of two boxes of a class that overlap more, the lower score goes.
        candidates: P, best predictions that are kept for suppression.
        max_detections: D, kept at the end.
    """

    def __init__(
        self,
        anchors: np.ndarray,
        *,
        image_size: tuple[int, int],
        score_threshold: float,
        nms_iou: float,
        candidates: int,
        max_detections: int,
    ):
        self.anchors = anchors
        self.image_size = image_size
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.candidates = candidates
        self.max_detections = max_detections

    def __call__(self, deltas: np.ndarray, logits: np.ndarray) -> Detections:
        """Detections in pixels of the network's input from deltas (A,4) and logits (A,K)."""
        anchor, label, scores = self._candidates(logits)
        height, width = self.image_size
        boxes = clip(decode(deltas[anchor], self.anchors[anchor]), width, height)
        visible = area(boxes) > 0  # the others lie outside the image
        boxes, scores, label = boxes[visible], scores[visible], label[visible]
        keep = class_nms(boxes, label, self.nms_iou)[: self.max_detections]
        return Detections(boxes[keep], scores[keep], label[keep])

    def _candidates(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Default box, label and score of the best predictions above the threshold, best first.

        Logits are compared with the threshold's logit, so few sigmoids are computed.
        """
        least = logit(self.score_threshold)
        flat = logits.ravel()
        above = np.flatnonzero(flat > least)
        if len(above) > self.candidates:
            best = np.argpartition(-flat[above], self.candidates - 1)[: self.candidates]
            above = np.sort(above[best])
        above = above[np.argsort(-flat[above], kind="stable")]
        anchor, label = np.divmod(above, logits.shape[1])
        return anchor, label, 1 / (1 + np.exp(-flat[above]))


def logit(probability: float) -> float:
    """Inverse of the sigmoid; minus infinity at 0."""
    return math.log(probability / (1 - probability)) if probability > 0 else -math.inf


def class_nms(boxes: np.ndarray, labels: np.ndarray, max_iou: float) -> np.ndarray:
    """Indices that greedy non-maximum suppression within each class keeps, in ascending order.

    Args:
        boxes: (P,4), best score first.
        labels: (P,); boxes of different labels do not suppress each other.
        max_iou: a box goes if its IoU with a kept one of its class is above this.
    """
    suppresses = iou(boxes, boxes) > max_iou
    suppresses &= labels[:, None] == labels[None, :]
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if alive[index]:
            alive[index + 1 :] &= ~suppresses[index, index + 1 :]
    return np.flatnonzero(alive)


def build_postprocessor(cfg, anchors: np.ndarray) -> Postprocessor:
    """The post-processing that the configuration asks for."""
    return Postprocessor(
        anchors,
        image_size=cfg.image_size,
        score_threshold=cfg.score_threshold,
        nms_iou=cfg.nms_iou,
        candidates=cfg.candidates,
        max_detections=cfg.max_detections,
    )
