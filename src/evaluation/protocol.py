"""What a published AP was measured on, by name: a number means nothing without it."""

from dataclasses import dataclass

import numpy as np

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.config.keys import load_keys
from src.data.annotations import Annotations
from src.runtime.errors import InputError

MOST_DETECTIONS = 100  # of a class in an image that COCO's metric looks at
LEGACY_SCORE, LEGACY_PER_CLASS = 0.1, 100  # of the older evaluation that 0.374 was published with
LEGACY_CANDIDATES = 10_000  # more than a trained network has; an untrained one would take minutes
LARGEST_ID = 2**53  # that COCO's array form, of floats, can hold

# what else than the protocol and the network decides what is detected
SETTINGS = (
    "suppression", "nms_iou", "soft_sigma", "class_agnostic", "pre_nms_top_k", "tta_flip",
    "tta_scales",
)  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """Which images of a split count, and which detections.

    Attributes:
        name: "coco" or "legacy".
        score_threshold: only detections with a higher score.
        max_detections: best ones of an image; 0 for all.
        max_per_class: best ones of a class in an image; 0 for all.
        plain_only: leaves out images without objects and those with a crowd region.
    """

    name: str
    score_threshold: float
    max_detections: int = 0
    max_per_class: int = 0
    plain_only: bool = False

    def __str__(self) -> str:
        parts = [f"scores above {self.score_threshold:g}"]
        if self.max_detections:
            parts.append(f"{self.max_detections} detections an image")
        if self.max_per_class:
            parts.append(f"{self.max_per_class} detections a class in each image")
        if self.plain_only:
            parts.append("without images that have no object or a crowd region")
        return f"protocol {self.name} ({', '.join(parts)})"

    def limits(self) -> dict[str, float]:
        """What it says of a Postprocessor."""
        limits = {
            "score_threshold": self.score_threshold,
            "max_detections": self.max_detections,
            "max_per_class": self.max_per_class,
        }
        return limits if self.max_detections else {**limits, "candidates": LEGACY_CANDIDATES}

    def images_of(self, annotations: Annotations) -> Annotations:
        """The images of the split that count; InputError where none does, or an id is too large."""
        largest = int(np.abs(annotations.image_ids).max())
        if largest > LARGEST_ID:
            raise InputError(
                f"{annotations.source}: image id {largest}; results hold ids up to 2^53, number "
                "the images anew"
            )
        if not self.plain_only:
            return annotations
        crowds = np.bincount(annotations.owners()[annotations.crowd], minlength=len(annotations))
        plain = np.flatnonzero((annotations.object_counts() > 0) & (crowds == 0))
        if len(plain) == 0:
            raise InputError(f"{annotations.source}: no image of it counts in {self}")
        return annotations.take(plain)


def build_protocol(cfg: Config) -> Protocol:
    """The protocol that the configuration names; InputError where other keys contradict it."""
    if cfg.protocol == "legacy":
        for key in ("score_threshold", "max_detections"):
            if cfg[key] != load_keys()[key].default:
                raise InputError(
                    f"{key} is {cfg[key]}, but protocol legacy has limits of its own; leave it out"
                )
        return Protocol("legacy", LEGACY_SCORE, max_per_class=LEGACY_PER_CLASS, plain_only=True)
    return Protocol("coco", cfg.score_threshold, min(cfg.max_detections, MOST_DETECTIONS))


def unusual_settings(cfg: Config) -> str:
    """The SETTINGS that are not the defaults, as ", key=value ..."; "" where all are."""
    keys = load_keys()
    return "".join(
        f", {name}={as_lists(cfg[name])}"
        for name in SETTINGS
        if as_lists(cfg[name]) != as_lists(keys[name].default)
    )
