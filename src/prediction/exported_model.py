"""Inference with an exported file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.deploy.exported import load_exported
from src.deploy.formats import read_description
from src.detection.postprocess import build_postprocessor
from src.detection.tiles import build_tiling
from src.prediction.inference import Inference
from src.runtime.errors import InputError

# keys that an exported file fixes; SUPPRESSION only if it contains suppression
FIXED = ("classes", "image_size", "resize")
SIDES = ("short_side", "long_side")  # fixed too, for resize short_side
SUPPRESSION = (
    "suppression", "nms_iou", "class_agnostic", "pre_nms_top_k", "candidates_per_level",
)  # fmt: skip

TOLERANCE = {"score_threshold": " or more", "max_detections": " or less"}  # values that also work


def build_exported(cfg: Config, *, threads: int = 0, **limits: float) -> Inference:
    """Inference with the exported file `model`.

    A file with suppression is not followed by another one, unless views or tiles are merged: boxes
    in a letterbox are clipped to the image after the file's suppression, and then overlap
    differently.

    Args:
        threads: of ONNX Runtime, where cpu_threads is 0; 0 for as many as there are cores.
        limits: of post-processing, see build_postprocessor.

    Raises:
        InputError: the configuration contradicts the file.
    """
    path = Path(cfg.model)
    description = read_description(path)
    if cfg.tta_scales != (1.0,):
        raise InputError(f"{path}: has one input size; tta_scales needs a checkpoint")
    if cfg.protocol == "legacy":
        raise InputError(f"{path}: has too few candidates for protocol legacy; use a checkpoint")
    check_compatible(path, description, cfg)
    threads = cfg.cpu_threads or threads
    model = load_exported(path, description, threads=threads, device=cfg.device_target)
    merge = build_postprocessor(cfg, **limits)
    if description["nms"] and not cfg.tta_flip:
        limits["nms_iou"] = 1.0
    postprocess = build_postprocessor(cfg, **limits)
    return Inference(
        model,
        postprocess,
        sizes=[cfg.image_size],
        mirror=cfg.tta_flip,
        letterbox=cfg.resize == "letterbox",
        tiling=build_tiling(cfg),
        merge=merge,
    )


def check_compatible(path: Path, description: Mapping[str, Any], cfg: Config) -> None:
    """InputError where the configuration contradicts what the exported file fixes."""
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
            f"{path}: was exported with other keys than the config has; set them, or export again"
            + "".join(
                f"\n  {key}: {description[key]}{TOLERANCE.get(key, '')}, not {wanted[key]}"
                for key in refused
            )
        )
