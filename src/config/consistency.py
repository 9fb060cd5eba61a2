"""Checks of keys against each other."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from easydict import EasyDict

from src.config.class_list import class_contradictions
from src.config.keys import AUTO, load_keys
from src.detection.anchors import STRIDES
from src.runtime.errors import InputError

USUAL_WARMUP = 0.3  # share of a run; the recipes have at most this
# keys of a format that name what to evaluate on, which val_share would replace
OWN_EVALUATION = {"coco": ("val_json", "val_images"), "other": ("val_anno_path",)}
ROOTS = {"coco": "coco_root", "voc": "voc_root", "yolo": "yolo_root"}  # folders of formats
SIZE_MULTIPLE = 32  # C3, C4 and C5 must be exact halves of each other for the pyramid
LEAST_TILE = 32  # pixels; smaller ones hold nothing but parts


def as_lists(value: Any) -> Any:
    """The value with tuples as lists, which is what YAML writes."""
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


def differences(
    recorded: Mapping[str, Any], cfg: Mapping[str, Any], keys: Iterable[str]
) -> list[str]:
    """A line for each of the keys that a checkpoint records with another value."""
    return [
        f"{key}: {as_lists(recorded[key])} in the checkpoint, {as_lists(cfg[key])} in the config"
        for key in keys
        if key in recorded and as_lists(recorded[key]) != as_lists(cfg[key])
    ]


def check_consistency(cfg: EasyDict) -> None:
    """InputError if keys contradict each other."""
    for message in (
        *network_contradictions(cfg),
        *data_contradictions(cfg),
        *training_contradictions(cfg),
    ):
        raise InputError(message)


def network_contradictions(cfg: EasyDict) -> Iterator[str]:
    """Messages on keys of network and classes."""
    ratios = cfg.ssd_aspect_ratios
    if len(cfg.image_size) != 2 or any(side % SIZE_MULTIPLE for side in cfg.image_size):
        expected = f"[height, width], both multiples of {SIZE_MULTIPLE}"
        yield f"image_size is {list(cfg.image_size)}; expected {expected}"
    if cfg.resize == "short_side":
        yield from short_side_contradictions(cfg)
    yield from class_contradictions(cfg.classes, cfg.num_classes)
    if cfg.ssd_min_scale >= cfg.ssd_max_scale:
        expected = f"less than ssd_max_scale, {cfg.ssd_max_scale}"
        yield f"ssd_min_scale is {cfg.ssd_min_scale}; expected {expected}"
    if len(ratios) != len(STRIDES) or len(set(map(len, ratios))) != 1:
        expected = f"{len(STRIDES)} lists of equal length, one per level"
        yield f"ssd_aspect_ratios is {as_lists(ratios)}; expected {expected}"
    for name in ("aspect_ratios", "tta_scales"):
        if not cfg[name]:
            yield f"{name} is empty; expected at least one"
    for name in ("image_mean", "image_std"):
        if len(cfg[name]) not in (0, 3):
            yield f"{name} is {list(cfg[name])}; expected red, green and blue"
    if len(set(cfg.tta_scales)) < len(cfg.tta_scales):
        yield f"tta_scales is {as_lists(cfg.tta_scales)}; a scale is repeated"
    if 0 < cfg.tiles < LEAST_TILE:
        yield f"tiles is {cfg.tiles}; expected the pixels of a side, {LEAST_TILE} or more, or 0"
    if cfg.anchor_pixels == "whole" and cfg.anchors == "ssd":
        yield "anchor_pixels is whole and anchors is ssd; whole pixels are for anchors octave"
    if cfg.box_coding == "distribution":
        yield from distribution_contradictions(cfg)


def distribution_contradictions(cfg: EasyDict) -> Iterator[str]:
    """Messages on keys of the network that do not fit box_coding distribution."""
    if cfg.box_loss in ("smooth_l1", "l1"):
        yield (
            f"box_coding is distribution and box_loss is {cfg.box_loss}, a loss of deltas; use "
            "box_loss giou or ciou"
        )
    if cfg.anchor_pixels == "whole":
        yield (
            "box_coding is distribution and anchor_pixels is whole, where strides differ in x and "
            "y; use anchor_pixels exact"
        )
    if cfg.anchors == "ssd":
        yield (
            "box_coding is distribution and anchors is ssd, whose sides in strides differ between "
            "levels; use anchors octave"
        )


def short_side_contradictions(cfg: EasyDict) -> Iterator[str]:
    """Messages on keys that do not fit resize short_side."""
    short, long = cfg.short_side, cfg.long_side
    if short > long:
        yield f"short_side is {short} and long_side is {long}; expected no less than short_side"
    if min(cfg.image_size) < short or max(cfg.image_size) < long:
        yield (
            f"resize is short_side, and an image of short_side {short} and long_side {long} does "
            f"not fit image_size {list(cfg.image_size)}; set image_size to "
            f"{[math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE for side in (short, long)]}, or "
            "short_side and long_side to less"
        )
    if cfg.canvas_step % SIZE_MULTIPLE:
        yield f"canvas_step is {cfg.canvas_step}; expected a multiple of {SIZE_MULTIPLE}"
    if cfg.anchors == "ssd":
        yield (
            "resize is short_side and anchors is ssd, whose sides depend on image_size and not on "
            "the canvas in use; use anchors octave"
        )
    if tuple(cfg.tta_scales) != (1.0,):
        yield (
            f"resize is short_side and tta_scales is {as_lists(cfg.tta_scales)}, sizes of one "
            "canvas; use tta_scales [1.0]"
        )


def data_contradictions(cfg: EasyDict) -> Iterator[str]:
    """Messages on keys that say where the data are."""
    root = ROOTS.get(cfg.dataset)
    is_needed = cfg.dataset != "coco" or not (cfg.train_json or cfg.val_json)
    if root and not cfg[root] and is_needed:
        yield f"{root} is empty; expected a folder, such as . for this one"
    for name in OWN_EVALUATION.get(cfg.dataset, ()):
        if cfg.val_share and cfg[name]:
            yield (
                f"val_share is {cfg.val_share:g} and {name} is {cfg[name]!r}, which would not be "
                f"used; give --val_share=0 to evaluate on that, or --{name}= to hold out a share"
            )


def training_contradictions(cfg: EasyDict) -> Iterator[str]:
    """Messages on keys of the training."""
    epochs, milestones = cfg.epoch_size, list(cfg.lr_milestones)
    for name, what in (("jitter_scale", "factor"), ("crop_scale", "share")):
        scales = list(cfg[name])
        if len(scales) != 2 or scales[0] > scales[1]:
            yield f"{name} is {scales}; expected the least and the largest {what}"
    if cfg.box_coding == "distribution" and cfg.assigner == "max_iou":
        yield (
            "box_coding is distribution and assigner is max_iou, which assigns anchors whose "
            "centres are outside of their objects, where no distance describes a side; use "
            "assigner atss"
        )
    if cfg.warmup_epochs >= epochs:
        yield (
            f"warmup_epochs is {cfg.warmup_epochs}; expected less than epoch_size, {epochs}; "
            f"--warmup_epochs={USUAL_WARMUP * epochs:g} is {USUAL_WARMUP:.0%} of it"
        )
    if cfg.lr_schedule == "steps" and (
        not milestones or sorted(set(milestones)) != milestones or milestones[-1] >= epochs
    ):
        yield (
            f"lr_milestones is {milestones}; expected rising epochs below epoch_size, {epochs}, "
            f"such as [{epochs * 2 / 3:.3g}, {epochs * 0.9:.3g}]"
        )
    if cfg.precision == "float16" and cfg.device_target == "CPU":
        yield (
            "precision is float16, but on a CPU MindSpore only emulates float16 convolutions, more "
            "slowly than float32 runs; use --precision=float32"
        )
    if 0 < cfg.loss_scale < 1:
        yield f"loss_scale is {cfg.loss_scale}; expected 1 or more, or 0 for the default"
    if cfg.patience and not cfg.eval_interval:
        yield "patience is set, but eval_interval is 0: nothing is evaluated"
    if cfg.profile and cfg.resume:
        yield "profile and resume are both true; a profile starts from the beginning"
    if cfg.resume_from and not cfg.resume:
        yield "resume_from is given without --resume=True"


def least_batch(cfg: EasyDict) -> int:
    """Images of a forward pass, or the fewest that `auto` may choose."""
    return 1 if cfg.batch_size == AUTO else cfg.batch_size


def check_auto_batch(cfg: EasyDict, ranks: int) -> None:
    """InputError if a run cannot choose its batch itself."""
    if cfg.batch_size != AUTO:
        return
    target = cfg.device_target
    usual = load_keys()["batch_size"].default
    if target != "GPU":
        raise InputError(
            f"batch_size is auto, which asks a GPU for its free memory, but device_target is "
            f"{target}; give a number, such as the default, --batch_size={usual}"
        )
    if ranks > 1:
        raise InputError(
            f"batch_size is auto, which is for one rank, but there are {ranks}; try it with one, "
            "whose config.yaml has the number, or give a number"
        )
