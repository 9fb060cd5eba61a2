"""Inference with an exported file."""

from pathlib import Path

from src.config.configuration import Config
from src.deploy.exported import load_exported
from src.detection.postprocess import build_postprocessor
from src.detection.tiles import build_tiling
from src.prediction.exported_keys import check_exported
from src.prediction.inference import Inference


def build_exported(cfg: Config, *, threads: int = 0, **limits: float) -> Inference:
    """Inference with the exported file `model`.

    If the file has suppression, there is no second one unless views or tiles are merged: boxes in
    a letterbox are clipped to the image after the file's suppression, which changes overlaps.

    Args:
        threads: of ONNX Runtime, where cpu_threads is 0; 0 for as many as there are cores.
        limits: of post-processing, see build_postprocessor.

    Raises:
        InputError: the configuration contradicts the file.
    """
    path, description = Path(cfg.model), check_exported(cfg)
    threads = cfg.cpu_threads or threads
    model = load_exported(path, description, threads=threads, device=cfg.device_target)
    merge = build_postprocessor(cfg, **limits)
    if description["nms"] and not cfg.tta_flip:
        limits["nms_iou"] = 1.0
    return Inference(
        model,
        build_postprocessor(cfg, **limits),
        sizes=[cfg.image_size],
        mirror=cfg.tta_flip,
        letterbox=cfg.resize == "letterbox",
        tiling=build_tiling(cfg),
        merge=merge,
    )
