"""Exported files, run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from src.config import Config, as_lists
from src.detection.postprocess import build_postprocessor
from src.errors import InputError
from src.formats import INPUT, OUTPUTS, format_of, read_description
from src.inference import ExportedModel, Inference

# keys that are settled in a file, and in one that suppresses overlapping boxes too
FIXED = ("classes", "image_size", "resize")
SUPPRESSION = ("suppression", "nms_iou", "class_agnostic", "candidates")

ALSO = {"score_threshold": " or more", "max_detections": " or less"}  # what can be cut off after it

# images (N,S,S,3) uint8 -> boxes (N,R,4), scores (N,R), labels (N,R)
Run = Callable[[np.ndarray], list[np.ndarray]]


def load_mindir(path: Path, description: Mapping[str, Any], **_: Any) -> Run:
    """The file's graph, run by MindSpore on its device; InputError where it cannot be read."""
    try:
        graph = nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a MINDIR file, or a damaged one") from error
    if description["export_batch"] == 0:  # compiled once for all sizes of batches
        height, width = description["image_size"]
        graph.set_inputs(ms.Tensor(shape=[None, height, width, 3], dtype=ms.uint8))
    return lambda images: [output.asnumpy() for output in graph(ms.Tensor(images))]


def load_onnx(
    path: Path, description: Mapping[str, Any], *, threads: int = 0, device: str = "CPU"
) -> Run:
    """The file's graph, run by ONNX Runtime; InputError where it cannot be read, or not there.

    Args:
        threads: of the CPU's kernels; 0 takes as many as there are cores.
        device: CPU, GPU or Ascend.
    """
    import onnxruntime

    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise InputError(
            f"{path}: the installed ONNX Runtime has no {provider} for device_target {device}; "
            "install the one that has, or give --device_target=CPU"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # its own classes, of no common base
        raise InputError(f"{path}: not an ONNX file, or a damaged one") from error
    return lambda images: session.run(list(OUTPUTS), {INPUT: images})


PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "GPU": "CUDAExecutionProvider",
    "Ascend": "CANNExecutionProvider",
}
LOADERS = {"MINDIR": load_mindir, "ONNX": load_onnx}


def load_exported(path: Path, description: Mapping[str, Any], **how: Any) -> ExportedModel:
    """The exported file as a model, tried on an empty image.

    Args:
        description: of the file, keys of the configuration.
        how: "threads" and "device", see `load_onnx`.

    Raises:
        InputError: it cannot be read, or is not what the description says.
    """
    run = LOADERS[format_of(str(path))](path, description, **how)
    shape = (description["export_batch"] or 1, *description["image_size"], 3)
    try:
        boxes, scores, labels = run(np.zeros(shape, np.uint8))
    except Exception as error:  # of MindSpore or ONNX Runtime, whose classes have no common base
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: does not take images {shape}: {reason}") from error
    names = description["classes"][1:]
    if not boxes.shape[:2] == scores.shape == labels.shape or labels.max() >= len(names):
        raise InputError(
            f"{path}: gives boxes {boxes.shape}, scores {scores.shape} and labels up to "
            f"{labels.max()} of {len(names)} classes; it is not what its description says"
        )
    return ExportedModel(run, description["export_batch"])


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
    if wished["candidates"] > description["candidates"] and not description["nms"]:
        refused.append("candidates")
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
