"""Evaluation protocols by name: which images and detections an AP counts."""

from dataclasses import dataclass

import numpy as np

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.config.keys import load_keys
from src.data.annotations import Annotations
from src.runtime.errors import InputError

MAX_PER_CLASS = 100  # detections of an image that COCO's metric counts
LEGACY_SCORE, LEGACY_PER_CLASS = 0.1, 100  # of the older evaluation behind the published 0.374
LEGACY_CANDIDATES = 10_000  # more than a trained network has; bounds the time of an untrained one
LIMITS = ("score_threshold", "max_detections")  # keys that protocol legacy overrides
MAX_IMAGE_ID = 2**53  # largest exact integer in float64, the type of COCO's array form

# keys that change detections, besides the protocol and the network
SETTINGS = (
    "suppression", "nms_iou", "soft_sigma", "class_agnostic", "pre_nms_top_k",
    "candidates_per_level", "tta_flip", "tta_scales", "tiles", "tile_overlap",
)  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """Which images and detections of a split count."""

    name: str  # "coco" or "legacy"
    score_threshold: float  # only detections with a higher score
    max_detections: int = 0  # per image; 0 for all
    max_per_class: int = 0  # per image and class; 0 for all
    plain_only: bool = False  # excludes images without objects or with a crowd region

    def __str__(self) -> str:
        parts = [f"scores above {self.score_threshold:g}"]
        if self.max_detections:
            parts.append(f"{self.max_detections} detections an image")
        if self.max_detections > MAX_PER_CLASS:
            parts.append(f"of which AP counts {MAX_PER_CLASS} a class")
        if self.max_per_class:
            parts.append(f"{self.max_per_class} detections a class in each image")
        if self.plain_only:
            parts.append("without images that have no object or a crowd region")
        return f"protocol {self.name} ({', '.join(parts)})"

    def limits(self) -> dict[str, float]:
        """Arguments for build_postprocessor."""
        limits = {
            "score_threshold": self.score_threshold,
            "max_detections": self.max_detections,
            "max_per_class": self.max_per_class,
        }
        if not self.max_detections:
            limits |= {"candidates": LEGACY_CANDIDATES, "per_level": 0}
        return limits

    def images_of(self, annotations: Annotations) -> Annotations:
        """The images that count; InputError where none does or an id is too large."""
        largest = int(np.abs(annotations.image_ids).max())
        if largest > MAX_IMAGE_ID:
            raise InputError(
                f"{annotations.source}: image id {largest}; results hold ids up to 2^53, "
                "renumber the images"
            )
        if not self.plain_only:
            return annotations
        crowds = np.bincount(annotations.owners()[annotations.crowd], minlength=len(annotations))
        plain = np.flatnonzero((annotations.object_counts() > 0) & (crowds == 0))
        if len(plain) == 0:
            raise InputError(f"{annotations.source}: no image counts in {self}")
        return annotations.take(plain)


def build_protocol(cfg: Config) -> Protocol:
    """The configured protocol; InputError where other keys contradict it."""
    if cfg.protocol == "legacy":
        for key in LIMITS:
            if cfg[key] != load_keys()[key].default:
                raise InputError(
                    f"{key} is {cfg[key]}, but protocol legacy has its own limits; leave it out"
                )
        return Protocol("legacy", LEGACY_SCORE, max_per_class=LEGACY_PER_CLASS, plain_only=True)
    return Protocol("coco", cfg.score_threshold, cfg.max_detections)


def unusual_settings(cfg: Config) -> str:
    """SETTINGS that differ from the defaults, as ", key=value"; "" without any."""
    keys = load_keys()
    return "".join(
        f", {name}={as_lists(cfg[name])}"
        for name in SETTINGS
        if as_lists(cfg[name]) != as_lists(keys[name].default)
    )
