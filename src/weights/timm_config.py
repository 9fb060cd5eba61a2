"""Mean and deviation of the pixels, from timm's config.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.config.open_keys import IMAGE_MEAN, IMAGE_STD, LEAST_STD
from src.runtime.errors import InputError

BYTE = 255  # timm's mean and std are in 0..1
SET_PIXELS = "; move it away, or give --image_mean and --image_std"


def pixels_of(path: Path, variant: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std of pixels by timm's config.json, or ImageNet's; InputError if it is invalid."""
    source = path.with_name("config.json")
    try:
        config = json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return IMAGE_MEAN, IMAGE_STD
    except (OSError, ValueError) as error:
        raise InputError(f"{source}: cannot be read as JSON: {error}{SET_PIXELS}") from error
    if not isinstance(config, dict) or "architecture" not in config:
        return IMAGE_MEAN, IMAGE_STD  # not timm's
    architecture = config["architecture"]
    if variant not in str(architecture):
        raise InputError(
            f"{source}: is of {architecture!r}, but {path.name} looks like a {variant}{SET_PIXELS}"
        )
    config = config.get("pretrained_cfg", config)  # older files have no such level
    return timm_pixels(config, source)


def timm_pixels(config: Mapping[str, Any], source: Path) -> tuple[list[float], list[float]]:
    """Mean and std in timm's configuration, scaled to 0..255; InputError if they are invalid."""
    try:
        mean, std = ([float(value) * BYTE for value in config[key]] for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: lacks mean and std{SET_PIXELS}") from error
    inside = all(0 <= v <= BYTE for v in mean) and all(LEAST_STD <= v <= BYTE for v in std)
    if not (inside and len(mean) == len(std) == 3):
        raise InputError(f"{source}: mean is {config['mean']}, std {config['std']}{SET_PIXELS}")
    return mean, std
