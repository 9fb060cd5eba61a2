"""Checks of keys against each other."""

from collections.abc import Mapping
from typing import Any

from src.detection.anchors import STRIDES
from src.runtime.errors import InputError

SIZE_MULTIPLE = 32  # C3, C4 and C5 must be exact halves of each other for the pyramid


def as_lists(value: Any) -> Any:
    """The value with tuples as lists, which is what YAML writes."""
    return [as_lists(item) for item in value] if isinstance(value, tuple) else value


def check_consistency(values: Mapping[str, Any]) -> None:
    """InputError where keys contradict each other."""
    size, classes = values["image_size"], values["classes"]
    if len(size) != 2 or any(side % SIZE_MULTIPLE for side in size):
        raise InputError(
            f"image_size is {list(size)}; expected [height, width], both multiples of "
            f"{SIZE_MULTIPLE}"
        )
    if len(classes) < 2 or classes[0] != "background":
        raise InputError(
            "classes must start with 'background' and name at least one class; they start with "
            f"{list(classes[:2])}"
        )
    if len(set(classes)) < len(classes):
        twice = sorted({name for name in classes if classes.count(name) > 1})
        raise InputError(f"classes: {', '.join(map(repr, twice))} appear more than once")
    if values["num_classes"] not in (0, len(classes)):
        raise InputError(
            f"num_classes is {values['num_classes']} but classes has {len(classes)} entries, the "
            "background included; they must be equal"
        )
    if values["ssd_min_scale"] >= values["ssd_max_scale"]:
        raise InputError(
            f"ssd_min_scale is {values['ssd_min_scale']}; expected less than ssd_max_scale, "
            f"{values['ssd_max_scale']}"
        )
    ratios = values["ssd_aspect_ratios"]
    if len(ratios) != len(STRIDES) or len(set(map(len, ratios))) != 1:
        raise InputError(
            f"ssd_aspect_ratios is {as_lists(ratios)}; expected {len(STRIDES)} lists of equal "
            "length, one per level"
        )
    for name in ("aspect_ratios", "tta_scales"):
        if not values[name]:
            raise InputError(f"{name} is empty; expected at least one")
    for name in ("image_mean", "image_std"):
        if len(values[name]) not in (0, 3):
            raise InputError(f"{name} is {list(values[name])}; expected red, green and blue")
    if len(set(values["tta_scales"])) < len(values["tta_scales"]):
        raise InputError(f"tta_scales is {as_lists(values['tta_scales'])}; one comes twice")
    check_training(values)


def check_training(values: Mapping[str, Any]) -> None:
    """InputError where keys of the training contradict each other."""
    epochs = values["epoch_size"]
    if values["warmup_epochs"] >= epochs:
        raise InputError(
            f"warmup_epochs is {values['warmup_epochs']}; expected less than epoch_size, {epochs}"
        )
    milestones = list(values["lr_milestones"])
    if values["lr_schedule"] == "steps" and (
        not milestones or sorted(set(milestones)) != milestones or milestones[-1] >= epochs
    ):
        raise InputError(
            f"lr_milestones is {milestones}; expected rising epochs below epoch_size, {epochs}"
        )
    if values["precision"] == "float16" and values["device_target"] == "CPU":
        raise InputError(
            "precision is float16, but on a CPU MindSpore only emulates float16 convolutions, more "
            "slowly than float32 runs; use --precision=float32"
        )
    if 0 < values["loss_scale"] < 1:
        raise InputError(
            f"loss_scale is {values['loss_scale']}; expected 1 or more, or 0 for the default"
        )
    if values["patience"] and not values["eval_interval"]:
        raise InputError("patience is set, but eval_interval is 0: nothing is evaluated")
    if values["profile"] and values["resume"]:
        raise InputError("profile and resume are both true; a profile starts from the beginning")
    if values["resume_from"] and not values["resume"]:
        raise InputError("resume_from is given without --resume=True")
