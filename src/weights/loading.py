"""Loads weights of detectors and backbones into a network, with a report of matches."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import nn

from src.runtime.errors import InputError
from src.runtime.text import listed, printable
from src.weights.checkpoint_file import MINDCV_SHORTCUT, SHORTCUT, read_checkpoint, run_config

CLASSIFIER_PREFIXES = ("end_point.", "fc.", "classifier.")  # of an image classifier
CLASS_LAYER = ("class_head.predictor.weight", "class_head.predictor.bias")
CENTERNESS = "box_head.centerness."
FIRST_BLOCK = re.compile(r"(.*\.)?layer1\.0\.")  # of a ResNet, under any prefix
SHOWN_NAMES = 8


@dataclass(frozen=True)
class Match:
    """Names of parameters: of equal shape, missing, unexpected, of another shape."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    misshaped: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether all parameters match, and there are no others."""
        return not (self.missing or self.unexpected or self.misshaped)

    def report(self) -> str:
        """Counts, and the first names that did not match."""
        lines = [f"matched {len(self.matched)}"]
        for title in ("missing", "unexpected", "misshaped"):
            if names := getattr(self, title):
                lines.append(f"{title} {len(names)}: {listed(names, SHOWN_NAMES)}")
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


def load_detector(
    network: nn.Cell, path: str, arrays: Mapping[str, np.ndarray] | None = None
) -> Match:
    """Loads a whole detector from a file or its arrays; InputError if names or shapes differ."""
    return load_arrays(network, arrays or read_checkpoint(path), path)


def load_arrays(
    network: nn.Cell, arrays: Mapping[str, np.ndarray], path: str, *, allowed: Collection[str] = ()
) -> Match:
    """Sets parameters to arrays; InputError if names differ, or shapes of others than `allowed`."""
    parameters = network.parameters_dict()
    found = match(parameters, arrays)
    wrong = [name for name in found.misshaped if name.split(" ")[0] not in allowed]
    if found.missing or found.unexpected or wrong:
        refuse_backbone(arrays, path)
        raise InputError(
            f"{path}: is the checkpoint of another network than the config describes\n  "
            + found.report()
        )
    set_parameters(parameters, arrays, found.matched)
    return found


def refuse_backbone(names: Iterable[str], path: str) -> None:
    """InputError if the names of a checkpoint's parameters are those of a ResNet alone."""
    own = [name for name in names if FIRST_BLOCK.match(name)]
    if own and not any(name.startswith("backbone.") for name in own):
        raise InputError(
            f"{path}: is a backbone, not a detector; train one from it with train.py "
            f"{shlex.quote(f'--pretrained={path}')}, or give a detector's checkpoint"
        )


def load_for_finetuning(network: nn.Cell, path: str, names: Sequence[str] = ()) -> str:
    """Loads a detector to train on other classes, and returns a report.

    Classes that the checkpoint has too, by name, keep their rows of the class layer; the rows of
    others stay as they are. A checkpoint without names keeps its class layer if the number of
    classes is equal. Centerness is left out, unless the network has it.

    Args:
        names: of the network's classes.
    """
    arrays, parameters = read_checkpoint(path), network.parameters_dict()
    saved = tuple(run_config(path).get("classes", ()))[1:]
    left = [n for n in arrays if n.startswith(CENTERNESS) and n not in parameters]
    arrays = {name: array for name, array in arrays.items() if name not in left}
    if saved and names:
        for layer in CLASS_LAYER:
            if layer in arrays:
                fresh = parameters[layer].asnumpy()
                arrays[layer] = rows_by_name(arrays[layer], fresh, saved, names)
    found = load_arrays(network, arrays, path, allowed=CLASS_LAYER)
    report = f"{path}: loaded {len(found.matched)} parameters of a detector"
    if saved and names:
        report += f"; {kept_classes(saved, names)}"
    elif found.misshaped:
        report += "; another class count, so the class layer is reinitialised"
    else:
        report += "; it names no classes, so these keep their weights in its order"
    if left:
        report += "; its centerness is left out, which is not trained"
    return report


def rows_by_name(
    array: np.ndarray, fresh: np.ndarray, saved: Sequence[str], names: Sequence[str]
) -> np.ndarray:
    """Rows (B*K,...) of the class layer for `names`: of `array` for those in `saved`, else fresh.

    An array of another shape than `saved` and the network need is returned as it is.
    """
    anchors = len(fresh) // len(names)
    if len(array) != anchors * len(saved) or array.shape[1:] != fresh.shape[1:]:
        return array
    rows = fresh.reshape(anchors, len(names), *fresh.shape[1:]).copy()  # (B,K,...)
    known = array.reshape(anchors, len(saved), *array.shape[1:])
    for row, name in enumerate(names):
        if name in saved:
            rows[:, row] = known[:, saved.index(name)]
    return rows.reshape(fresh.shape)


def kept_classes(saved: Sequence[str], names: Sequence[str]) -> str:
    """Which classes keep their weights, for the log."""
    kept = [name for name in names if name in saved]
    new = [name for name in names if name not in saved]
    if not new:
        return f"all {len(names)} classes keep their weights, by name"
    if not kept:
        return "none of its classes is to be learnt, so the class layer is reinitialised"
    kept, new = listed(kept, SHOWN_NAMES), listed(new, SHOWN_NAMES)
    return f"classes that keep their weights: {kept}; reinitialised: {new}"


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
        prefix, second = printable(repr(prefix)), printable(repr(second))
        raise InputError(f"{path}: holds two backbones, under {prefix} and {second}; keep one")
    return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}


def part_starts(name: str) -> Iterator[int]:
    """Where the parts of a dotted name start."""
    yield 0
    yield from (index + 1 for index, letter in enumerate(name) if letter == ".")
