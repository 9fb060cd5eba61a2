"""Inference with an exported file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.deploy.exported import load_exported
from src.deploy.formats import read_description
from src.detection.postprocess import build_postprocessor
from src.prediction.inference import Inference
from src.runtime.errors import InputError

# keys that are settled in a file, and in one that suppresses overlapping boxes too
FIXED = ("classes", "image_size", "resize")
SUPPRESSION = ("suppression", "nms_iou", "class_agnostic", "pre_nms_top_k")

ALSO = {"score_threshold": " or more", "max_detections": " or less"}  # what can be cut off after it


def build_exported(cfg: Config, *, threads: int = 0, **limits: float) -> Inference:
    """Inference with the exported file `model`.

    What a file has suppressed is not suppressed again, unless views are to be joined: in a
    letterbox boxes are clipped to the image after that, and then overlap differently.

    Args:
        threads: of ONNX Runtime, if cpu_threads does not say; 0 takes as many as there are cores.
        limits: of post-processing, see build_postprocessor.

    Raises:
        InputError: the configuration wants something else than what the file does.
    """
    path = Path(cfg.model)
    description = read_description(path)
    if cfg.tta_scales != (1.0,):
        raise InputError(f"{path}: has one input size; tta_scales needs a checkpoint")
    if cfg.protocol == "legacy":
        raise InputError(f"{path}: has too few candidates for protocol legacy; take a checkpoint")
    check_wishes(path, description, cfg)
    threads = cfg.cpu_threads or threads
    model = load_exported(path, description, threads=threads, device=cfg.device_target)
    if description["nms"] and not cfg.tta_flip:
        limits["nms_iou"] = 1.0
    postprocess = build_postprocessor(cfg, **limits)
    return Inference(model, postprocess, sizes=[cfg.image_size], mirror=cfg.tta_flip)


def check_wishes(path: Path, description: Mapping[str, Any], cfg: Config) -> None:
    """InputError where the configuration wants what an exported file no longer can do."""
    wished = {key: as_lists(cfg[key]) for key in description}
    refused = [key for key in FIXED if wished[key] != description[key]]
    if wished["pre_nms_top_k"] > description["pre_nms_top_k"] and not description["nms"]:
        refused.append("pre_nms_top_k")
    if description["nms"]:
        refused += [key for key in SUPPRESSION if wished[key] != description[key]]
        if wished["score_threshold"] < description["score_threshold"]:
            refused.append("score_threshold")
        if wished["max_detections"] > description["max_detections"]:
            refused.append("max_detections")
    if refused:
        lines = [
            f"{key}: {description[key]}{ALSO.get(key, '')}, not {wished[key]}" for key in refused
        ]
        title = (
            f"{path}: was exported with other keys than the config has; set them, or export anew"
        )
        raise InputError("\n  ".join([title, *lines]))
