"""Loads weights of detectors and backbones into a network, with a report of matches."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import nn

from src.runtime.errors import InputError
from src.weights.checkpoint_file import MINDCV_SHORTCUT, SHORTCUT, read_checkpoint

CLASSIFIER_PREFIXES = ("end_point.", "fc.", "classifier.")  # of an image classifier
CLASS_LAYER = ("class_head.predictor.weight", "class_head.predictor.bias")
SHOWN_NAMES = 8


@dataclass(frozen=True)
class Match:
    """Names of parameters: of equal shape, missing, unexpected, of another shape."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    misshaped: list[str]

    def report(self) -> str:
        """Counts, and the first names that did not match."""
        lines = []
        for title in ("matched", "missing", "unexpected", "misshaped"):
            names = getattr(self, title)
            line = f"{title} {len(names)}"
            if names and title != "matched":
                line += ": " + ", ".join(names[:SHOWN_NAMES])
                line += f" and {len(names) - SHOWN_NAMES} more" * (len(names) > SHOWN_NAMES)
            lines.append(line)
        return "\n  ".join(lines)


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


def load_detector(network: nn.Cell, path: str, *, new_classes: bool = False) -> Match:
    """Loads a detector, but not CLASS_LAYER if it has another shape and there are `new_classes`.

    Raises:
        InputError: other parameters differ.
    """
    parameters = network.parameters_dict()
    arrays = read_checkpoint(path)
    found = match(parameters, arrays)
    allowed = CLASS_LAYER if new_classes else ()
    wrong = [name for name in found.misshaped if name.split(" ")[0] not in allowed]
    if found.missing or found.unexpected or wrong:
        backbone_alone = not any(name.startswith("backbone.") for name in arrays)
        hint = "; load a backbone with --pretrained" * backbone_alone
        raise InputError(
            f"{path}: is the checkpoint of another network than the config describes{hint}\n  "
            + found.report()
        )
    set_parameters(parameters, arrays, found.matched)
    return found


def load_for_finetuning(network: nn.Cell, path: str) -> str:
    """Loads a detector, without the class layer where the class count differs; returns a report."""
    found = load_detector(network, path, new_classes=True)
    report = f"{path}: loaded {len(found.matched)} parameters of a detector"
    if found.misshaped:
        report += "; another class count, so the class layer is reinitialised"
    return report


def load_backbone(network: nn.Cell, path: str) -> str:
    """Loads a pretrained ResNet into the detector's backbone; returns the report.

    Names may carry a prefix; a classifier is ignored.

    Raises:
        InputError: less than the whole backbone matched.
    """
    parameters = {
        name[len("backbone.") :]: parameter
        for name, parameter in network.parameters_dict().items()
        if name.startswith("backbone.")
    }
    arrays = {n.replace(MINDCV_SHORTCUT, SHORTCUT): a for n, a in read_checkpoint(path).items()}
    arrays = {
        name: array
        for name, array in strip_prefix(arrays, parameters, path).items()
        if not name.startswith(CLASSIFIER_PREFIXES)
    }
    found = match(parameters, arrays)
    report = f"{path}: backbone weights\n  {found.report()}"
    if found.missing or found.misshaped:
        raise InputError(f"{report}\n  the whole backbone must match; nothing was loaded")
    set_parameters(parameters, arrays, found.matched)
    return report


def strip_prefix(
    arrays: Mapping[str, np.ndarray], names: Collection[str], path: str
) -> dict[str, np.ndarray]:
    """The arrays under the prefix under which most of `names` are, without that prefix.

    Raises:
        InputError: there are two such prefixes, as of a student and a teacher.
    """
    counts = Counter(
        name[:start] for name in arrays for start in part_starts(name) if name[start:] in names
    )
    (prefix, most), (second, equal), *_ = [*counts.most_common(2), ("", 0), ("", 0)]
    if most == equal > len(names) / 2:
        raise InputError(f"{path}: holds two backbones, under {prefix!r} and {second!r}; keep one")
    return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}


def part_starts(name: str) -> Iterator[int]:
    """Where the parts of a dotted name start."""
    yield 0
    yield from (index + 1 for index, letter in enumerate(name) if letter == ".")
