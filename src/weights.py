"""Weights in: checkpoints of backbones and of whole detectors, with a report of what matched."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
import yaml
from mindspore import nn

from src.config import Config, as_lists
from src.errors import InputError

CLASSIFIER_PREFIXES = ("end_point.", "fc.")  # of an image classifier; a detector has no use for it
BACKBONE_PREFIXES = ("backbone.", "network.backbone.", "network.", "resnet.", "module.")
CLASS_LAYER = ("class_head.predictor.weight", "class_head.predictor.bias")
RUN_PREFIX = "run."  # entries of a checkpoint that tell of the run and are no weights
OPTIMIZER_PREFIX = "optimizer."  # what the optimizer remembers of each weight
EMA_PREFIX = "ema."  # moving averages of the weights
CHECKSUM_MARK, CHECKSUM_BYTES = b"crc_num", 17  # how MindSpore ends a file: mark and ten digits
SHOWN_NAMES = 8
# keys that change what the weights mean, but not their names and shapes
SILENT_KEYS = (
    "classes", "padding", "anchors", "anchor_size", "scales_per_octave", "aspect_ratios",
    "min_scale", "max_scale", "ssd_aspect_ratios", "resize",
)  # fmt: skip
FREE_IN_FINETUNING = ("classes", "resize")  # of these, what a detector can learn anew


@dataclass(frozen=True)
class Match:
    """Names of parameters: found with the right shape, missing, left over, of another shape."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    misshaped: list[str]

    def report(self) -> str:
        """Counts, and the first names of what did not match."""
        lines = []
        for title in ("matched", "missing", "unexpected", "misshaped"):
            names = getattr(self, title)
            line = f"{title} {len(names)}"
            if names and title != "matched":
                line += ": " + ", ".join(names[:SHOWN_NAMES])
                line += f" and {len(names) - SHOWN_NAMES} more" * (len(names) > SHOWN_NAMES)
            lines.append(line)
        return "\n  ".join(lines)


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Weights in a MindSpore checkpoint by name; InputError where it cannot be read.

    Of a run that averages its weights they are the averages.
    """
    arrays = {
        name: value.asnumpy()
        for name, value in load_entries(path).items()
        if isinstance(value, ms.Tensor) and not name.startswith((RUN_PREFIX, OPTIMIZER_PREFIX))
    }
    averages = {n[len(EMA_PREFIX) :]: a for n, a in arrays.items() if n.startswith(EMA_PREFIX)}
    return averages or arrays


def load_entries(path: str) -> dict:
    """Everything in a checkpoint by name; InputError where it cannot be read."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint file")
    logging.disable(logging.CRITICAL)  # MindSpore would add lines of its own to ours
    try:
        return ms.load_checkpoint(str(path), crc_check=has_checksum(Path(path)))
    except (ValueError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: not a MindSpore checkpoint, or a damaged one") from error
    finally:
        logging.disable(logging.NOTSET)


def has_checksum(path: Path) -> bool:
    """Whether a checkpoint ends with a checksum, which is written last."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - CHECKSUM_BYTES, 0))
        return file.read().startswith(CHECKSUM_MARK)


def run_config(path: str) -> dict:
    """The configuration of the run that left the checkpoint; empty where it does not tell."""
    return yaml.safe_load(load_entries(path).get(RUN_PREFIX + "config", "{}"))


def check_run(path: str, cfg: Config, *, finetuning: bool = False) -> None:
    """InputError where the run that left the checkpoint had another network than the config.

    Names and shapes cannot show SILENT_KEYS. A checkpoint that does not tell of its run passes; in
    `finetuning` FREE_IN_FINETUNING may differ.
    """
    saved = run_config(path)
    differences = [
        f"{key}: {saved[key]} in the checkpoint, {as_lists(cfg[key])} in the config"
        for key in SILENT_KEYS
        if key in saved and saved[key] != as_lists(cfg[key])
        if not (finetuning and key in FREE_IN_FINETUNING)
    ]
    if differences:
        raise InputError(f"{path}: was trained with other keys\n  " + "\n  ".join(differences))


def match(parameters: Mapping[str, ms.Parameter], arrays: Mapping[str, np.ndarray]) -> Match:
    """Compares a network's parameters with a checkpoint's arrays."""
    shared = [name for name in parameters if name in arrays]
    fits = {name: tuple(parameters[name].shape) == arrays[name].shape for name in shared}
    return Match(
        matched=[name for name in shared if fits[name]],
        missing=[name for name in parameters if name not in arrays],
        unexpected=[name for name in arrays if name not in parameters],
        misshaped=[
            f"{name} {arrays[name].shape} for {tuple(parameters[name].shape)}"
            for name in shared
            if not fits[name]
        ],
    )


def set_parameters(
    parameters: Mapping[str, ms.Parameter], arrays: Mapping[str, np.ndarray], names: list[str]
) -> None:
    """Sets the named parameters to the checkpoint's arrays."""
    for name in names:
        parameters[name].set_data(ms.Tensor(arrays[name], parameters[name].dtype))


def load_detector(network: nn.Cell, path: str) -> None:
    """Loads a whole detector; InputError names the parameters that differ."""
    _load_detector(network, path, new_classes=False)


def load_for_finetuning(network: nn.Cell, path: str) -> str:
    """Loads a detector whose class count may differ: then all but the class layer.

    Returns:
        What was loaded, for the log.

    Raises:
        InputError: anything but the class layer differs.
    """
    found = _load_detector(network, path, new_classes=True)
    report = f"{path}: loaded {len(found.matched)} parameters of a detector"
    if found.misshaped:
        report += "; another class count, so the class layer starts anew"
    return report


def _load_detector(network: nn.Cell, path: str, *, new_classes: bool) -> Match:
    parameters = network.parameters_dict()
    arrays = read_checkpoint(path)
    found = match(parameters, arrays)
    allowed = CLASS_LAYER if new_classes else ()
    wrong = [name for name in found.misshaped if name.split(" ")[0] not in allowed]
    if found.missing or found.unexpected or wrong:
        raise InputError(
            f"{path}: is the checkpoint of another network than the config describes\n  "
            + found.report()
        )
    set_parameters(parameters, arrays, found.matched)
    return found


def load_backbone(network: nn.Cell, path: str) -> str:
    """Loads a pretrained ResNet into the detector's backbone; returns the report.

    Names may carry one of BACKBONE_PREFIXES; a classifier is ignored.

    Raises:
        InputError: less than the whole backbone matched.
    """
    parameters = {
        name[len("backbone.") :]: parameter
        for name, parameter in network.parameters_dict().items()
        if name.startswith("backbone.")
    }
    arrays = strip_prefix(read_checkpoint(path), parameters)
    arrays = {n: a for n, a in arrays.items() if not n.startswith(CLASSIFIER_PREFIXES)}
    found = match(parameters, arrays)
    report = f"{path}: backbone weights\n  {found.report()}"
    if found.missing or found.misshaped:
        raise InputError(f"{report}\n  the whole backbone must match; nothing was loaded")
    set_parameters(parameters, arrays, found.matched)
    return report


def strip_prefix(arrays: Mapping[str, np.ndarray], parameters) -> dict[str, np.ndarray]:
    """The arrays under the names they have without the prefix that makes most of them match."""

    def stripped(prefix: str) -> dict[str, np.ndarray]:
        return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}

    candidates = [stripped(prefix) for prefix in ("", *BACKBONE_PREFIXES)]
    return max(candidates, key=lambda found: sum(name in found for name in parameters))
