"""What an exported file fixes, checked without MindSpore."""

from pathlib import Path
from typing import Any

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.deploy.formats import read_description
from src.runtime.errors import InputError

# keys that an exported file fixes; SUPPRESSION only if it contains suppression
FIXED = ("classes", "image_size", "resize")
SIDES = ("short_side", "long_side")  # fixed too, for resize short_side
SUPPRESSION = (
    "suppression", "nms_iou", "class_agnostic", "pre_nms_top_k", "candidates_per_level",
)  # fmt: skip
TOLERANCE = {"score_threshold": " or more", "max_detections": " or less"}  # values that also work


def check_exported(cfg: Config) -> dict[str, Any]:
    """The description of the exported file `model`; InputError where other keys contradict it."""
    path = Path(cfg.model)
    description = read_description(path)
    if cfg.tta_scales != (1.0,):
        raise InputError(f"{path}: has one input size; --tta_scales needs a checkpoint")
    if cfg.protocol == "legacy":
        raise InputError(f"{path}: has too few candidates for protocol legacy; use a checkpoint")
    wanted = {key: as_lists(cfg[key]) for key in description}
    fixed = FIXED + SIDES if description["resize"] == "short_side" else FIXED
    refused = [key for key in fixed if wanted[key] != description[key]]
    if description["nms"]:
        refused += [key for key in SUPPRESSION if wanted[key] != description[key]]
        if wanted["score_threshold"] < description["score_threshold"]:
            refused.append("score_threshold")
        if wanted["max_detections"] > description["max_detections"]:
            refused.append("max_detections")
    elif wanted["candidates_per_level"] != description["candidates_per_level"]:
        refused.append("candidates_per_level")
    elif wanted["pre_nms_top_k"] > description["pre_nms_top_k"]:
        refused.append("pre_nms_top_k")
    if refused:
        raise InputError(
            f"{path}: was exported with other keys; leave these out, of the flags or the recipe, "
            "or export again"
            + "".join(
                f"\n  --{key} is {wanted[key]}; expected {description[key]}{TOLERANCE.get(key, '')}"
                for key in refused
            )
        )
    return description
