"""Recognises whole detectors of torchvision and mmdetection by their tensors, and converts them."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.config.configuration import Config
from src.detection.anchors import STRIDES, build_anchors
from src.models.layers import NORM_EPSILON
from src.models.ssd import build_ssd
from src.runtime.errors import InputError
from src.runtime.text import listed
from src.weights.convert import COUNTER, check_finite, choose, several_networks, under
from src.weights.detector_arrays import by_size, chosen_classes, scaled_deltas, with_epsilon
from src.weights.detector_families import FAMILIES, Family, part_of, their_name
from src.weights.detector_keys import ClassNames, configure, outputs
from src.weights.loading import SHOWN_NAMES, Match, match

# names of pyramids and heads, with the prefix before them as the group
MARK = re.compile(
    r"((?:[^.]+\.)*?)(?:backbone\.fpn|head\.(?:classification|regression)_head|"
    r"neck\.(?:lateral|fpn)_convs|bbox_head|roi_heads?|rpn(?:_head)?)\."
)
# torchvision before 0.13 had no ".0" after the layers of its pyramid, and ReLUs in its towers
OLD_PYRAMID = re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)")
OLD_TOWER = re.compile(r"(head\.\w+_head\.conv)\.([0246])\.(weight|bias)")
SCALE = "bbox_head.scales.{}.scale"
DROPPED = (COUNTER, "integral.project")  # ends of names; the second are the distances 0 to 16
PARTS = {"backbone": "backbone.", "pyramid": "fpn.", "heads": ("box_head.", "class_head.")}
# names of a network's parameters: with further ones it is another network
OF_NETWORK = re.compile(r"([^.]*_)?(backbone|body|neck|fpn|heads?)(_[^.]*)?\.")
# mmdetection 2 writes each weight a second time, with this before its name and _ for its points:
# those before averaging, while the averaged ones, which it evaluates, have the weight's own name
COPY = "ema_"


@dataclass(frozen=True)
class Detector:
    """A detector in a file, compared with its family.

    Attributes:
        config: with which this project builds it.
        rows: of the class layer, those of `config.classes` in their order.
        prefix: of its names in the file.
        matched: by part, with the names in the file.
        expected: names in the file by names here.
        arrays: those under the prefix.
        note: on the classes.
        copies, others: names of arrays that are ignored: second copies of weights, and arrays that
            do not look like part of a network.
    """

    family: Family
    config: Config
    rows: tuple[int, ...]
    prefix: str
    matched: dict[str, Match]
    expected: dict[str, str]
    arrays: Mapping[str, np.ndarray]
    note: str
    copies: Sequence[str] = ()
    others: Sequence[str] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it has the parameters of its family, and no others."""
        return all(part.is_whole for part in self.matched.values())

    def report(self) -> str:
        """What it is, and what matched of each part, for the user."""
        lines = [f"{self.family.title}, {self.config.backbone}{under(self.prefix, '')}"]
        for part, found in self.matched.items():
            lines.append(f"  {part}: " + found.report().replace("\n  ", "\n    "))
        if self.copies:
            lines.append(
                f"  ignored {len(self.copies)} second copies of weights, {COPY}*: those without "
                f"{COPY} are used, which mmdetection averages and evaluates"
            )
        if self.others:
            lines.append(f"  ignored {len(self.others)}: {listed(self.others, SHOWN_NAMES)}")
        return "\n".join([*lines, f"  {self.note}"])


def find_detector(
    arrays: Mapping[str, np.ndarray],
    source: str,
    *,
    prefix: str | None = None,
    classes: ClassNames | None = None,
) -> Detector | None:
    """The detector in a file; None if the file has nothing of a pyramid or of heads.

    `prefix` chooses one of several detectors; `classes` has names that may not be COCO's.

    Raises:
        InputError: it is none of FAMILIES, or there are several.
    """
    prefixes = list(dict.fromkeys(mark[1] for name in arrays if (mark := MARK.match(name))))
    if not prefixes:
        return None
    chosen = choose(prefixes, source, prefix, "detector")
    classes = classes or ClassNames()
    found = []
    for each in chosen:
        inside = arrays_under(arrays, each, prefixes)
        found.append(closest_detector(inside, each, source, classes))
    return only_one(found, source)


def arrays_under(
    arrays: Mapping[str, np.ndarray], prefix: str, prefixes: Sequence[str]
) -> dict[str, np.ndarray]:
    """Arrays under a prefix, without it; those of detectors under longer prefixes are left out."""
    inner = tuple(each for each in prefixes if len(each) > len(prefix))
    return {
        name[len(prefix) :]: array
        for name, array in arrays.items()
        if name.startswith(prefix) and not name.startswith(inner)
    }


def only_one(found: Sequence[Detector], source: str) -> Detector:
    """The one that is whole; InputError if none is, or several are."""
    whole = [each for each in found if each.is_whole]
    if not whole:
        best = max(found, key=matches)
        raise InputError(
            f"{source}: is no detector that this network can be; the closest is {best.report()}\n"
            "  all of it must match; nothing was written. --backbone converts the backbone alone"
        )
    if len(whole) > 1:
        titles = {each.prefix: each.family.title for each in whole}
        raise several_networks(source, titles, "detectors")
    left = [f"all{under(each.prefix)}" for each in found if each is not whole[0]]
    return replace(whole[0], others=[*whole[0].others, *left])


def closest_detector(
    inside: Mapping[str, np.ndarray], prefix: str, source: str, classes: ClassNames
) -> Detector:
    """The detector under a prefix, compared with its family or, if it has none, the closest."""
    copies = copies_among(inside)
    inside = {n: a for n, a in inside.items() if n not in copies and not n.endswith(DROPPED)}
    inside = with_scales({new_name(name): array for name, array in inside.items()})
    families = [
        family
        for family in FAMILIES
        if all(name in inside for name in family.sign) and family.absent not in inside
    ]
    found = [compare(inside, each, prefix, source, classes) for each in families or FAMILIES]
    return replace(max(found, key=matches), copies=sorted(copies))


def copies_among(names: Collection[str]) -> set[str]:
    """Names of second copies of what has another of the names."""
    return {COPY + name.replace(".", "_") for name in names}.intersection(names)


def new_name(name: str) -> str:
    """The name in torchvision's later versions."""
    if old := OLD_PYRAMID.fullmatch(name):
        return f"{old[1]}.0.{old[2]}"
    if old := OLD_TOWER.fullmatch(name):
        return f"{old[1]}.{int(old[2]) // 2}.0.{old[3]}"
    return name


def with_scales(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with mmdetection's scales of the levels as one array."""
    names = [SCALE.format(level) for level in range(len(STRIDES))]
    if not all(name in arrays and arrays[name].size == 1 for name in names):
        return arrays
    scales = np.array([arrays[name].item() for name in names], np.float32)
    others = {name: array for name, array in arrays.items() if name not in names}
    return {**others, "bbox_head.scales": scales}


def compare(
    arrays: Mapping[str, np.ndarray],
    family: Family,
    prefix: str,
    source: str,
    classes: ClassNames,
) -> Detector:
    """The arrays, compared part by part with the network that the family's configuration builds."""
    cfg, rows, note = configure(arrays, family, source, classes)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell, drawn=False)
    parameters = network.parameters_dict()
    expected = {name: their_name(name, family) for name in parameters}
    # the class layer may have rows that are left out
    given = class_layer(arrays, family, rows, build_anchors(cfg).anchors_per_cell)
    matched, left = {}, set(given)
    for part, begin in PARTS.items():
        wanted = {expected[n]: p for n, p in parameters.items() if n.startswith(begin)}
        own = {name: given[name] for name in wanted if name in given}
        matched[part] = match(wanted, own)
        left -= set(own)
    others = sorted(name for name in left if not OF_NETWORK.match(name))
    for name in sorted(left.difference(others)):
        matched[part_of(name, family)].unexpected.append(name)
    return Detector(family, cfg, rows, prefix, matched, expected, arrays, note, others=others)


def matches(found: Detector) -> int:
    """How many parameters match."""
    return sum(len(part.matched) for part in found.matched.values())


def class_layer(
    arrays: Mapping[str, np.ndarray], family: Family, rows: Sequence[int], anchors: int
) -> dict[str, np.ndarray]:
    """The arrays, with the chosen rows of the class layer alone if it has these."""
    count, rest = divmod(outputs(arrays, "class_head.predictor", family), anchors)
    if count <= max(rows) or rest:
        return dict(arrays)
    names = [their_name(f"class_head.predictor.{leaf}", family) for leaf in ("weight", "bias")]
    return {**arrays, **{name: chosen_classes(arrays[name], anchors, rows) for name in names}}


def converted(
    found: Detector, source: str, *, frozen_epsilon: float | None
) -> dict[str, np.ndarray]:
    """A whole detector's arrays with MindSpore's names, in the units and order of this network.

    Args:
        frozen_epsilon: of the norms where they were frozen, see `is_frozen`.

    Raises:
        InputError: nan or infinite numbers.
    """
    cfg, family = found.config, found.family
    per_cell = build_anchors(cfg).anchors_per_cell
    given = class_layer(found.arrays, family, found.rows, per_cell)
    arrays = {ours: given[theirs] for ours, theirs in found.expected.items()}
    for leaf in ("weight", "bias"):
        boxes = f"box_head.predictor.{leaf}"
        if family.unit_deltas:
            arrays[boxes] = scaled_deltas(arrays[boxes])
        for name in (boxes, f"class_head.predictor.{leaf}"):
            arrays[name] = by_size(arrays[name], len(cfg.aspect_ratios), cfg.scales_per_octave)
    if frozen_epsilon not in (None, NORM_EPSILON):
        arrays = with_epsilon(arrays, frozen_epsilon)
    check_finite(arrays, source)
    return arrays


def is_frozen(names: Iterable[str], found: Detector) -> bool:
    """Whether the norms of torchvision's first version were frozen: they count no batches.

    torchvision gives those of its own COCO file, and of models that start from it, an epsilon of
    0; of other models with frozen norms it is NORM_EPSILON, which no tensor shows.
    """
    return found.family is FAMILIES[0] and not any(name.endswith(COUNTER) for name in names)
