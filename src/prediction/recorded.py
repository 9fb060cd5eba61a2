"""Keys that a checkpoint records, as a layer of the configuration; without MindSpore."""

from src.config.configuration import Layer
from src.deploy.formats import USE_KEYS
from src.weights.checkpoint_config import NETWORK_KEYS, SILENT_KEYS, recorded_config

# how a detector is trained: others may not fit its network
LEARNING_KEYS = (
    "assigner", "positive_iou", "atss_candidates", "class_loss", "focal_alpha", "focal_gamma",
    "quality_beta", "box_loss", "smooth_l1_beta", "box_weight", "distribution_weight",
)  # fmt: skip
DETECTOR_KEYS = (*NETWORK_KEYS, *SILENT_KEYS, *USE_KEYS, *LEARNING_KEYS, "canvas_step")


def detector_layer(path: str) -> Layer:
    """The keys of the detector in a checkpoint; none where it records none, or without a path."""
    config = recorded_config(path) if path else {}
    return {name: config[name] for name in DETECTOR_KEYS if name in config}, path


def finetuning_layer(path: str) -> Layer:
    """The keys with which training starts from the detector in a checkpoint.

    All but the size of the images; what training cannot do is replaced by what is nearest.
    """
    keys, _ = detector_layer(path)
    keys.pop("image_size", None)
    if keys.get("resize") == "short_side":
        keys["resize"] = "letterbox"
    if keys.get("centerness"):
        keys["centerness"] = False
    return keys, path
