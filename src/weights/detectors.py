"""Recognises whole detectors of torchvision and mmdetection by their tensors, and converts them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.config.configuration import Config, make_config
from src.config.keys import load_keys
from src.detection.anchors import STRIDES, build_anchors
from src.models.layers import NORM_EPSILON
from src.models.ssd import build_ssd
from src.runtime.errors import InputError
from src.weights.convert import COUNTER, MAX_PREFIXES, NORM_NAMES, closest_variant, under
from src.weights.detector_arrays import (
    by_size,
    chosen_classes,
    scaled_deltas,
    with_epsilon,
)
from src.weights.detector_families import COCO_IDS, FAMILIES, Family
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
CATEGORY_ROWS = COCO_IDS[-1] + 1  # of a class layer by category ids
COCO = load_keys()["classes"].default[1:]
BACKGROUND = "background"


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
    """

    family: Family
    config: Config
    rows: tuple[int, ...]
    prefix: str
    matched: dict[str, Match]
    expected: dict[str, str]
    arrays: Mapping[str, np.ndarray]
    note: str

    @property
    def is_whole(self) -> bool:
        """Whether it has the parameters of its family, and no others."""
        return not any(m.missing or m.misshaped or m.unexpected for m in self.matched.values())

    def report(self) -> str:
        """What it is and what matched, by part, for the user."""
        lines = [f"{self.family.title}, {self.config.backbone}{under(self.prefix, '')}"]
        for part, found in self.matched.items():
            lines.append(f"  {part}: " + found.report().replace("\n  ", "\n    "))
        return "\n".join([*lines, f"  {self.note}"])


def find_detector(
    arrays: Mapping[str, np.ndarray],
    source: str,
    *,
    prefix: str | None = None,
    classes: Sequence[str] = (),
) -> Detector | None:
    """The detector in a file; None where the file has nothing of a pyramid or of heads.

    Args:
        arrays: by PyTorch's names.
        source: of the arrays, for errors.
        prefix: of the names, for files with several detectors.
        classes: names of the classes, where they are not COCO's.

    Raises:
        InputError: it is none of FAMILIES, or there are several different ones.
    """
    prefixes = list(dict.fromkeys(mark[1] for name in arrays if (mark := MARK.match(name))))
    if not prefixes:
        return None
    if prefix is not None:
        prefix = prefix and prefix.rstrip(".") + "."
        if prefix not in prefixes:
            known = ", ".join(f"--prefix={each}" for each in prefixes[:MAX_PREFIXES])
            raise InputError(f"{source}: no detector{under(prefix)}; there are {known}")
        prefixes = [prefix]
    found = [closest_detector(arrays, each, source, classes) for each in prefixes[:MAX_PREFIXES]]
    whole = [each for each in found if each.is_whole]
    if not whole:
        best = max(found, key=matches)
        raise InputError(
            f"{source}: is no detector that this network can be; the closest is {best.report()}\n"
            "  all of it must match; nothing was written. --backbone converts the backbone alone"
        )
    if any(not same(whole[0], other) for other in whole[1:]):
        lines = [f"--prefix={each.prefix}  {each.family.title}" for each in whole]
        raise InputError(
            f"{source}: holds {len(whole)} different detectors; choose one by\n  "
            + "\n  ".join(lines)
        )
    return whole[0]


def closest_detector(
    arrays: Mapping[str, np.ndarray], prefix: str, source: str, classes: Sequence[str]
) -> Detector:
    """What is under a prefix, compared with its family or, if it is of none, with the closest."""
    inside = {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}
    inside = {n: a for n, a in inside.items() if not n.endswith(DROPPED)}
    inside = with_scales({new_name(name): array for name, array in inside.items()})
    families = [
        family
        for family in FAMILIES
        if all(name in inside for name in family.sign) and family.absent not in inside
    ]
    found = [compare(inside, each, prefix, source, classes) for each in families or FAMILIES]
    return max(found, key=matches)


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
    classes: Sequence[str],
) -> Detector:
    """The arrays, compared part by part with the network that the family's configuration builds."""
    cfg, rows, note = configure(arrays, family, source, classes)
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
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
    for name in sorted(left):
        part = part_of(name, family)
        matched[part].unexpected.append(name)
    return Detector(family, cfg, rows, prefix, matched, expected, arrays, note)


def configure(
    arrays: Mapping[str, np.ndarray], family: Family, source: str, classes: Sequence[str]
) -> tuple[Config, tuple[int, ...], str]:
    """The configuration of a detector, rows of its class layer, and a note on its classes."""
    body = their_name("backbone.", family)
    variant, _ = closest_variant(
        {n[len(body) :]: a for n, a in arrays.items() if n.startswith(body)}
    )
    keys = {**family.keys, "backbone": variant, "p6_from": "p5"}
    extra = arrays.get(their_name("fpn.extras.0.conv.weight", family))
    if extra is not None and extra.ndim == 4 and extra.shape[1] != extra.shape[0]:
        keys["p6_from"] = "c5"
    if keys.get("box_coding") == "distribution":
        sides = arrays.get(their_name("box_head.predictor.bias", family), np.zeros(68))
        keys["distribution_bins"] = max(len(sides) // 4, 2)
    cfg = make_config([(keys, family.title)])
    bias = arrays.get(their_name("class_head.predictor.bias", family))
    count = len(COCO) if bias is None else len(bias) // build_anchors(cfg).anchors_per_cell
    rows, names, note = choose_classes(count, family, classes, source)
    return cfg.replace(classes=[BACKGROUND, *names]), rows, note


def choose_classes(
    count: int, family: Family, classes: Sequence[str], source: str
) -> tuple[tuple[int, ...], Sequence[str], str]:
    """Rows of a class layer of `count`, their names, and a note; InputError for other names."""
    first = 1 if family.counts_background else 0
    if classes:
        if len(classes) not in (count, count - first):
            expected = f"{count - first} or {count}" if first else f"{count}"
            raise InputError(
                f"{source}: its class layer has {count} rows, and --classes {len(classes)} names; "
                f"expected {expected}"
            )
        rows = tuple(range(count - len(classes), count))
        return rows, classes, f"classes: {len(classes)}, named by --classes"
    if family.counts_background and count == CATEGORY_ROWS:
        note = f"classes: the {len(COCO)} of COCO, from {count} rows by category id"
        return COCO_IDS, COCO, note
    if count == len(COCO):
        return tuple(range(count)), COCO, f"classes: the {count} of COCO"
    rows = tuple(range(first, max(count, first + 1)))
    names = [f"class_{number}" for number in range(1, len(rows) + 1)]
    left = "; row 0 is taken for the background" * first
    note = f"classes: {len(rows)} without names in the file{left}; --classes=a,b,... names them"
    return rows, names, note


def their_name(name: str, family: Family) -> str:
    """The name in the family's files of a parameter of this network, or of a layer that ends in a
    point."""
    for pattern, theirs in family.names:
        if begin := re.match(pattern, name):
            layer, rest = begin.expand(theirs), name[begin.end() :]
            break
    else:
        return name
    rest = rest.replace("down_sample_layer.", "downsample.")
    head, point, leaf = rest.rpartition(".")
    back = {ours: theirs for theirs, ours in NORM_NAMES.items()}
    return f"{layer}{head}{point}{back.get(leaf, leaf)}"


def part_of(name: str, family: Family) -> str:
    """The part of the network that a name in a file is nearest to."""
    if name.startswith(("backbone.fpn.", "neck.")):
        return "pyramid"
    return "backbone" if name.startswith(their_name("backbone.", family)) else "heads"


def matches(found: Detector) -> int:
    """How many parameters match."""
    return sum(len(part.matched) for part in found.matched.values())


def same(one: Detector, other: Detector) -> bool:
    """Whether both have the same numbers."""
    return one.family == other.family and all(
        np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items()
    )


def class_layer(
    arrays: Mapping[str, np.ndarray], family: Family, rows: Sequence[int], anchors: int
) -> dict[str, np.ndarray]:
    """The arrays, with the chosen rows of the class layer alone if it has these."""
    given = dict(arrays)
    for leaf in ("weight", "bias"):
        name = their_name(f"class_head.predictor.{leaf}", family)
        count, rest = divmod(len(given[name]) if name in given else 0, anchors)
        if count > max(rows) and not rest:
            given[name] = chosen_classes(given[name], anchors, rows)
    return given


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
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(f"{source}: nan or infinite numbers in {', '.join(broken[:SHOWN_NAMES])}")
    return arrays


def is_frozen(names: Iterable[str], found: Detector) -> bool:
    """Whether the norms of torchvision's first version were frozen: they count no batches.

    torchvision gives those of its own COCO file, and of models that start from it, an epsilon of
    0; of other models with frozen norms it is NORM_EPSILON, which no tensor shows.
    """
    return found.family is FAMILIES[0] and not any(name.endswith(COUNTER) for name in names)
