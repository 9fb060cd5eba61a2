"""Finds ResNets of torchvision and timm in a file by names and shapes, and renames them."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from src.models.resnet import VARIANTS, BasicBlock, BottleneckBlock, resnet
from src.runtime.errors import InputError
from src.runtime.text import listed, printable
from src.weights.loading import SHOWN_NAMES, Match, match
from src.weights.torch_file import TorchFile, read_torch_file
from src.weights.torch_tensors import as_float32
from src.weights.training_notes import Notes

OWN = re.compile(r"(conv|bn|layer)\d+\.")  # names of a ResNet's parameters, not those of heads
FIRST = re.compile(r"((?:.*\.)?)layer1\.\d+\.conv1\.weight")  # with the prefix as its group
MAX_PREFIXES = 64
NORM_NAMES = {
    "weight": "gamma", "bias": "beta",
    "running_mean": "moving_mean", "running_var": "moving_variance",
}  # fmt: skip
COUNTER = "num_batches_tracked"  # MindSpore's norms have none


@dataclass(frozen=True)
class Converted:
    """A backbone with MindSpore's names, and its match with the variant that is closest.

    Attributes:
        prefix: of its names in the file.
        depths: blocks in each of the four stages.
        ignored: further names under the prefix, which are those of heads.
    """

    variant: str
    arrays: dict[str, np.ndarray]
    matched: Match
    ignored: list[str]
    prefix: str
    depths: tuple[int, ...]

    def report(self) -> str:
        """Counts and names, for the user."""
        place = under(self.prefix) if self.prefix else ""
        text = f"{self.variant}{place}\n  {self.matched.report()}"
        if self.ignored:
            text += f"\n  ignored {listed(self.ignored, SHOWN_NAMES)}"
        return text


def read_foreign(path: Path) -> TorchFile:
    """Arrays by name in a .pth, .pt, .bin or .safetensors file, floating-point ones as float32."""
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError) as error:
        # the last three: types that NumPy lacks
        raise InputError(
            f"{path}: not a safetensors file, or a damaged one: {printable(str(error))}"
        ) from error
    return TorchFile({name: as_float32(array) for name, array in arrays.items()}, Notes())


def convert(
    arrays: Mapping[str, np.ndarray], source: str, *, prefix: str | None = None
) -> Converted:
    """The ResNet of a torchvision or timm file, with MindSpore's names.

    Heads and counters of norms are dropped. `prefix` chooses one of several ResNets.

    Raises:
        InputError: there is not exactly one of VARIANTS, or its weights are not finite.
    """
    kept = {name: array for name, array in arrays.items() if not name.endswith(COUNTER)}
    prefixes = chosen_prefixes(kept, source, prefix)
    candidates = [candidate(kept, found) for found in prefixes]
    whole = [found for found in candidates if found.matched.is_whole]
    if not whole:
        raise InputError(f"{source}: {closest(candidates)}")
    if len(whole) > 1:
        raise several_networks(source, {each.prefix: each.variant for each in whole}, "ResNets")
    (found,) = whole
    own = [n for n in kept if n.startswith(found.prefix) and OWN.match(n[len(found.prefix) :])]
    check_finite({name: kept[name] for name in own}, source)
    return found


def check_finite(arrays: Mapping[str, np.ndarray], source: str) -> None:
    """InputError that names the arrays with nan or infinite numbers."""
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(f"{source}: nan or infinite numbers in {listed(broken, SHOWN_NAMES)}")


def chosen_prefixes(names: Iterable[str], source: str, prefix: str | None) -> list[str]:
    """The prefix that the user chose, or all under which there is a stage of a ResNet."""
    found = list(dict.fromkeys(match[1] for name in names if (match := FIRST.fullmatch(name))))
    return choose(found, source, prefix, "ResNet") or [""]


def choose(found: list[str], source: str, prefix: str | None, what: str) -> list[str]:
    """The prefixes under which there is a network, or the one of these that the user chose."""
    if prefix is not None:
        prefix = prefix and prefix.rstrip(".") + "."
        if prefix not in found:
            raise InputError(f"{source}: no {what}{under(prefix)}; {known_prefixes(found)}")
        return [prefix]
    if len(found) > MAX_PREFIXES:
        raise InputError(f"{source}: holds {len(found)} networks; choose one with --prefix")
    return found


def known_prefixes(found: list[str]) -> str:
    """Which prefixes there are, for an error."""
    if found == [""]:
        return "its names have no prefix, so leave --prefix out"
    flags = ", ".join(f"--prefix={shlex.quote(printable(p))}" for p in found[:MAX_PREFIXES])
    return f"there are {flags}" if flags else "there is none under any other prefix"


def candidate(arrays: Mapping[str, np.ndarray], prefix: str) -> Converted:
    """The ResNet under a prefix, compared with the closest variant."""
    inside = {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}
    own = {mindspore_name(n, inside): a for n, a in inside.items() if OWN.match(n)}
    variant, depths = closest_variant(own)
    ignored = [name for name in inside if not OWN.match(name)]
    matched = match(resnet(variant).parameters_dict(), own)
    return Converted(variant, own, matched, ignored, prefix, depths)


def several_networks(source: str, titles: Mapping[str, str], what: str) -> InputError:
    """The error on a file with several networks, whose titles are given by prefix."""
    lines = [
        f"--prefix={shlex.quote(printable(prefix))}  {title}" for prefix, title in titles.items()
    ]
    return InputError("\n  ".join([f"{source}: holds {len(titles)} {what}; choose one by", *lines]))


def closest(candidates: Sequence[Converted]) -> str:
    """The candidate that matches best, and what it lacks, for an error."""
    best = max(candidates, key=lambda found: len(found.matched.matched))
    if not best.matched.matched:
        names = listed([*best.arrays, *best.ignored], SHOWN_NAMES) or "none"
        return f"holds neither a ResNet nor a detector that is known; its tensors: {names}"
    text = f"looks like {best.report()}\n  "
    if VARIANTS[best.variant][1] != best.depths:
        known = ", ".join(VARIANTS)
        text += f"{best.depths} blocks in the four stages; expected one of {known}\n  "
    return text + "the whole backbone must match; nothing was written"


def under(prefix: str, nothing: str = " without a prefix") -> str:
    """ " under student.", for messages."""
    return f" under {printable(prefix)}" if prefix else nothing


def mindspore_name(name: str, names: Mapping[str, Any]) -> str:
    """MindSpore's name of a ResNet's parameter."""
    layer, _, leaf = name.rpartition(".")
    is_norm = f"{layer}.running_mean" in names
    layer = layer.replace(".downsample.", ".down_sample_layer.")
    return f"{layer}.{NORM_NAMES.get(leaf, leaf) if is_norm else leaf}"


def closest_variant(names: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    """The VARIANT with the same blocks and the closest number in each stage, and these numbers."""
    block = BottleneckBlock if "layer1.0.conv3.weight" in names else BasicBlock
    blocks = {found.groups() for name in names if (found := re.match(r"layer(\d)\.(\d+)\.", name))}
    depths = tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(1, 5))

    def distance(variant: str) -> int:
        return sum(abs(wanted - found) for wanted, found in zip(VARIANTS[variant][1], depths))

    return min((name for name in VARIANTS if VARIANTS[name][0] is block), key=distance), depths
