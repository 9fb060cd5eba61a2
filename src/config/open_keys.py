"""Keys that the weights of a backbone decide unless they are given: padding, normalisation."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.config.configuration import Config
from src.config.consistency import differences

IMAGE_MEAN = (123.675, 116.28, 103.53)  # ImageNet's RGB mean and deviation, in 0..255
IMAGE_STD = (58.395, 57.12, 57.375)
PADDINGS = ("same", "symmetric", "mixed")  # of MindSpore's ResNets, torchvision's, mindcv's
LEAST_STD = 1  # smaller deviations are for pixels in 0..1
FOREIGN_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")  # of torchvision's and timm's files
# the value that leaves a key to the weights, and its value where the weights do not record it
OPEN = {"padding": "auto", "image_mean": (), "image_std": ()}
USUAL = {"padding": "same", "image_mean": IMAGE_MEAN, "image_std": IMAGE_STD}


def settled(cfg: Config, recorded: Mapping[str, Any]) -> Config:
    """The configuration with its open keys as the weights record them, or with usual values."""
    known = {**USUAL, **{key: recorded[key] for key in OPEN if key in recorded}}
    return cfg.replace(**{key: known[key] for key, value in OPEN.items() if cfg[key] == value})


def treatment(padding: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """Padding and normalisation as a line of text."""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"padding {padding!r}, pixels with mean ({mean}) and deviation ({std})"


def contradictions(cfg: Config, recorded: Mapping[str, Any]) -> list[str]:
    """A line for each key of a backbone that is recorded with another value than it is set to."""
    given = [key for key, value in OPEN.items() if cfg[key] != value]
    return differences(recorded, cfg, ["backbone", *given])
