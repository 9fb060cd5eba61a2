"""Augmentation: presets of the steps in `transforms`, `crops`, `colours` and `mosaic`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.data.augmentation.colours import photometric
from src.data.augmentation.crops import min_iou_crop
from src.data.augmentation.mosaic import mosaic
from src.data.transforms import Sample, expand, fit, flip, quarter_turn, scale_jitter


@dataclass(frozen=True)
class Preset:
    """Which steps are taken."""

    expand: bool = False
    crop: bool = False
    jitter: bool = False  # scale_jitter in place of fit
    flip: bool = True
    colours: bool = True


PRESETS = {
    "none": Preset(flip=False, colours=False),
    "flip": Preset(colours=False),
    "ssd": Preset(crop=True),
    "ssd_expand": Preset(expand=True, crop=True),
    "jitter": Preset(jitter=True),
}

STRENGTHS = {  # keys of the configuration, and the step that each is of
    "crop_scale": "crop",
    "max_expansion": "expand",
    "jitter_scale": "jitter",
    "flip_probability": "flip",
    "colour_strength": "colours",
    "hue_strength": "colours",
}


@dataclass(frozen=True)
class Augmentation:
    """A preset of PRESETS and the strength of each step.

    The turn, the vertical flip and the mosaic are steps of any preset, and off unless their
    probability is given. Nothing is drawn for a step that is off. The network must be evaluated
    with the same `keep_aspect`; see `transforms.fit_image`.
    """

    preset: str = "ssd"
    keep_aspect: bool = False
    crop_scale: Sequence[float] = (0.3, 1.0)
    max_expansion: float = 4.0
    jitter_scale: Sequence[float] = (0.5, 2.0)
    flip: float = 0.5
    colours: float = 0.4
    hue: float = 0.0
    vertical_flip: float = 0.0
    quarter_turn: float = 0.0
    mosaic: float = 0.0


def augment(
    sample: Sample,
    augmentation: Augmentation,
    image_size: tuple[int, int],
    rng: np.random.Generator,
    others: Sequence[Sample] = (),
) -> Sample:
    """The sample augmented, at (height, width) = image_size; with three `others` a mosaic."""
    preset, keep_aspect = PRESETS[augmentation.preset], augmentation.keep_aspect
    parts = [before_fitting(one, augmentation, rng) for one in (sample, *others)]
    if others:
        sample = mosaic(parts, image_size, rng, keep_aspect=keep_aspect)
    elif preset.jitter:
        scales = augmentation.jitter_scale
        sample = scale_jitter(parts[0], image_size, rng, keep_aspect=keep_aspect, scales=scales)
    else:
        sample = fit(parts[0], image_size, keep_aspect=keep_aspect)
    if preset.flip:
        sample = flip(sample, rng, augmentation.flip)
    sample = flip(sample, rng, augmentation.vertical_flip, axis=1)
    if preset.colours:
        sample = photometric(sample, rng, strength=augmentation.colours, hue=augmentation.hue)
    return sample


def before_fitting(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """The steps that are taken in the image's own pixels."""
    preset = PRESETS[augmentation.preset]
    if preset.expand:
        sample = expand(sample, rng, augmentation.max_expansion)
    if preset.crop:
        sample = min_iou_crop(sample, rng, augmentation.crop_scale)
    return quarter_turn(sample, rng, augmentation.quarter_turn)


def build_augmentation(cfg) -> Augmentation:
    """The augmentation that the configuration asks for."""
    return Augmentation(
        preset=cfg.augmentation,
        keep_aspect=cfg.resize != "stretch",
        crop_scale=cfg.crop_scale,
        max_expansion=cfg.max_expansion,
        jitter_scale=cfg.jitter_scale,
        flip=cfg.flip_probability,
        colours=cfg.colour_strength,
        hue=cfg.hue_strength,
        vertical_flip=cfg.vertical_flip_probability,
        quarter_turn=cfg.rotate_probability,
        mosaic=cfg.mosaic_probability,
    )
