"""The configuration of a detector in a file, and its classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.config.class_list import BACKGROUND
from src.config.configuration import Config, make_config
from src.config.keys import load_keys
from src.detection.anchors import build_anchors
from src.runtime.errors import InputError
from src.runtime.text import printable
from src.weights.coco_classes import COCO_IDS, COCO_NAMES
from src.weights.convert import closest_variant
from src.weights.detector_families import Family, their_name

CATEGORY_ROWS = COCO_IDS[-1] + 1  # of a class layer by category ids
INPUTS = (load_keys()["fpn_channels"].default, 3, 3)  # of a predictor's weight
SHOWN_CLASSES = 4


@dataclass(frozen=True)
class ClassNames:
    """Names of classes, without background: those the user gave, and those in the file."""

    given: Sequence[str] = ()
    noted: Sequence[str] = ()


def configure(
    arrays: Mapping[str, np.ndarray], family: Family, source: str, classes: ClassNames
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
    sides = outputs(arrays, "box_head.predictor", family)
    if keys.get("box_coding") == "distribution" and sides:
        keys["distribution_bins"] = sides // 4
    cfg = make_config([(keys, source)])
    channels = outputs(arrays, "class_head.predictor", family)
    if not channels:
        note = "classes: not known, as the class layer is missing or has an impossible shape"
        rows = tuple(range(len(COCO_NAMES)))
        return cfg.replace(classes=[BACKGROUND, *COCO_NAMES]), rows, note
    count = channels // build_anchors(cfg).anchors_per_cell
    rows, names, note = choose_classes(count, family, classes, source)
    return cfg.replace(classes=[BACKGROUND, *names]), rows, note


def outputs(arrays: Mapping[str, np.ndarray], layer: str, family: Family) -> int:
    """Output channels of a predictor; 0 if it is missing or its shapes are impossible."""
    names = [their_name(f"{layer}.{leaf}", family) for leaf in ("weight", "bias")]
    weight, bias = (arrays[name].shape if name in arrays else () for name in names)
    return bias[0] if len(bias) == 1 and weight == (*bias, *INPUTS) else 0


def choose_classes(
    count: int, family: Family, classes: ClassNames, source: str
) -> tuple[tuple[int, ...], Sequence[str], str]:
    """Rows of a class layer of `count`, their names, and a note; InputError for other names."""
    first = 1 if family.counts_background else 0
    given, noted = classes.given, classes.noted
    if given:
        if len(given) not in (count, count - first):
            expected = f"{count - first} or {count}" if first else f"{count}"
            raise InputError(
                f"{source}: its class layer has {count} rows, and --classes {len(given)} names; "
                f"expected {expected}"
            )
        rows = tuple(range(count - len(given), count))
        return rows, given, f"classes: {len(given)}, named by --classes"
    if len(noted) == count and BACKGROUND not in noted:
        few = ", ".join(map(printable, noted[:SHOWN_CLASSES]))
        more = ", ..." * (count > SHOWN_CLASSES)
        return tuple(range(count)), noted, f"classes: {count}, named in the file: {few}{more}"
    rows, names, note = unnamed_classes(count, family)
    if noted:
        note += (
            f"\n  warning: the file names {len(noted)} classes, which are not used, as its class "
            f"layer has {count} rows; --classes=a,b,... names them"
        )
    return rows, names, note


def unnamed_classes(count: int, family: Family) -> tuple[tuple[int, ...], Sequence[str], str]:
    """`choose_classes` where nothing names them."""
    first = 1 if family.counts_background else 0
    if family.counts_background and count == CATEGORY_ROWS:
        note = f"classes: the {len(COCO_NAMES)} of COCO, from {count} rows by category id"
        return COCO_IDS, COCO_NAMES, note
    if count == len(COCO_NAMES):
        return tuple(range(count)), COCO_NAMES, f"classes: the {count} of COCO"
    rows = tuple(range(first, max(count, first + 1)))
    names = [f"class_{number}" for number in range(1, len(rows) + 1)]
    left = "; row 0 is taken for the background" * first
    note = f"classes: {len(rows)} without names in the file{left}; --classes=a,b,... names them"
    return rows, names, note


def describe_use(cfg: Config) -> str:
    """How images are resized and which detections are kept, for the user."""
    height, width = cfg.image_size
    return (
        f"  images: short side {cfg.short_side} px, long side at most {cfg.long_side}, padded to "
        f"multiples of {cfg.canvas_step}, at most to {height} x {width} or turned\n"
        f"  detections: score above {cfg.score_threshold:g}, suppressed above an IoU of "
        f"{cfg.nms_iou:g}, at most {cfg.max_detections} an image"
    )
