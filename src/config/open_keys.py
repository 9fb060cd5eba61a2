"""What a backbone's weights were trained with, which the network has to repeat."""

from collections.abc import Mapping, Sequence
from typing import Any

from src.config.configuration import Config, as_lists

IMAGE_MEAN = (123.675, 116.28, 103.53)  # ImageNet's RGB mean and deviation, in 0..255
IMAGE_STD = (58.395, 57.12, 57.375)
PADDINGS = ("same", "symmetric", "mixed")  # of MindSpore's ResNets, torchvision's, mindcv's
LEAST_STD = 1  # below, mean and deviation are meant for pixels in 0..1
FOREIGN_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")  # of torchvision's and timm's files
# keys that the weights decide: what they are where a config leaves them open, and what they are
# then where the weights do not tell either
OPEN = {"padding": "auto", "image_mean": (), "image_std": ()}
USUAL = {"padding": "same", "image_mean": IMAGE_MEAN, "image_std": IMAGE_STD}


def settled(cfg: Config, told: Mapping[str, Any]) -> Config:
    """The configuration with the keys that it leaves open as weights have been `told` to want them.

    Args:
        told: the keys of OPEN that are known, from a checkpoint, say.
    """
    known = {**USUAL, **{key: told[key] for key in OPEN if key in told}}
    return cfg.replace(**{key: known[key] for key, value in OPEN.items() if cfg[key] == value})


def treatment(padding: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """How borders and pixels are treated, for the user."""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"{padding} padding, pixels less ({mean}) over ({std})"


def contradictions(cfg: Config, told: Mapping[str, Any]) -> list[str]:
    """A line for each key of OPEN that the configuration sets, and otherwise than `told`."""
    return [
        f"{key}: {told[key]} for the weights, {as_lists(cfg[key])} in the config"
        for key, value in OPEN.items()
        if key in told and cfg[key] != value and as_lists(cfg[key]) != as_lists(told[key])
    ]
