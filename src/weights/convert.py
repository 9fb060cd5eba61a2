"""Converts backbones of torchvision and timm: names of weights, and the ResNet variant."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from src.config.open_keys import IMAGE_MEAN, IMAGE_STD, LEAST_STD
from src.models.resnet import VARIANTS, BasicBlock, BottleneckBlock, resnet
from src.runtime.errors import InputError
from src.weights.checkpoint_file import strip_prefix
from src.weights.loading import CLASSIFIER_PREFIXES, SHOWN_NAMES, Match, match
from src.weights.torch_file import read_torch_file
from src.weights.torch_tensors import as_float32

# of a ResNet's weights in detectors and training scripts
PREFIXES = ("module.", "backbone.", "backbone.body.", "model.", "encoder.", "resnet.")
NORM_NAMES = {
    "weight": "gamma", "bias": "beta",
    "running_mean": "moving_mean", "running_var": "moving_variance",
}  # fmt: skip
COUNTER = "num_batches_tracked"  # MindSpore's norms have none
BYTE = 255  # timm's mean and std are in 0..1
SET_PIXELS = "; move it away, or give --image_mean and --image_std"


@dataclass(frozen=True)
class Converted:
    """A backbone with MindSpore's names, its variant, and its match with that."""

    variant: str
    arrays: dict[str, np.ndarray]
    matched: Match
    ignored: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Counts and names, for the user."""
        text = f"{self.variant}\n  {self.matched.report()}"
        return text + (f"\n  ignored {', '.join(self.ignored)}" if self.ignored else "")


def read_foreign(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name in a .pth, .pt, .bin or .safetensors file, floating-point ones as float32."""
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError) as error:
        # the last three: types that NumPy lacks
        raise InputError(f"{path}: not a safetensors file, or a damaged one: {error}") from error
    return {name: as_float32(array) for name, array in arrays.items()}


def convert(arrays: Mapping[str, np.ndarray], source: str) -> Converted:
    """A torchvision or timm ResNet with MindSpore's names.

    Args:
        arrays: by PyTorch's names; a prefix, a classifier and counters of norms are dropped.
        source: of the arrays, for errors.

    Raises:
        InputError: it is not exactly one of VARIANTS, or has nan or infinite weights.
    """
    kept = {name: array for name, array in arrays.items() if not name.endswith(COUNTER)}
    broken = [n for n, a in kept.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]
    if broken:
        raise InputError(f"{source}: nan or infinite numbers in {', '.join(broken[:SHOWN_NAMES])}")
    kept = strip_prefix(kept, ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"], PREFIXES)
    ignored = [name for name in kept if name.startswith(CLASSIFIER_PREFIXES)]
    renamed = {mindspore_name(name, kept): a for name, a in kept.items() if name not in ignored}
    variant = variant_of(renamed, source)
    parameters = resnet(variant).parameters_dict()
    found = Converted(variant, renamed, match(parameters, renamed), ignored)
    if found.matched.missing or found.matched.misshaped or found.matched.unexpected:
        raise InputError(
            f"{source}: looks like {found.report()}\n  the whole backbone must match and the file "
            "contain nothing else; nothing was written"
        )
    return found


def mindspore_name(name: str, names: Mapping[str, Any]) -> str:
    """MindSpore's name of a ResNet's parameter."""
    layer, _, leaf = name.rpartition(".")
    is_norm = f"{layer}.running_mean" in names
    layer = layer.replace(".downsample.", ".down_sample_layer.")
    return f"{layer}.{NORM_NAMES.get(leaf, leaf) if is_norm else leaf}"


def variant_of(names: Mapping[str, Any], source: str) -> str:
    """The VARIANT with these blocks per stage; InputError where there is none."""
    block = BottleneckBlock if "layer1.0.conv3.weight" in names else BasicBlock
    blocks = {found.groups() for name in names if (found := re.match(r"layer(\d)\.(\d+)\.", name))}
    depths = tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(1, 5))
    for variant, wanted in VARIANTS.items():
        if wanted == (block, depths):
            return variant
    known = ", ".join(VARIANTS)
    raise InputError(f"{source}: {depths} blocks in the four stages; expected one of {known}")


def pixels_of(path: Path, variant: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std of pixels, 0..255, from timm's config.json beside the file, or ImageNet's.

    Raises:
        InputError: the config.json is timm's, but of another network or invalid.
    """
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
    """Mean and std in timm's configuration, scaled to 0..255; InputError where they are invalid."""
    try:
        mean, std = ([float(value) * BYTE for value in config[key]] for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: lacks mean and std{SET_PIXELS}") from error
    inside = all(0 <= v <= BYTE for v in mean) and all(LEAST_STD <= v <= BYTE for v in std)
    if not (inside and len(mean) == len(std) == 3):
        raise InputError(f"{source}: mean is {config['mean']}, std {config['std']}{SET_PIXELS}")
    return mean, std
