"""The configuration of a detector in a file, and its classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from src.config.class_list import BACKGROUND
from src.config.configuration import Config, make_config
from src.config.keys import load_keys
from src.detection.anchors import build_anchors
from src.runtime.errors import InputError
from src.weights.convert import closest_variant
from src.weights.detector_families import COCO_IDS, COCO_NAMES, Family, their_name

CATEGORY_ROWS = COCO_IDS[-1] + 1  # of a class layer by category ids
INPUTS = (load_keys()["fpn_channels"].default, 3, 3)  # of a predictor's weight


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
    sides = outputs(arrays, "box_head.predictor", family)
    if keys.get("box_coding") == "distribution" and sides:
        keys["distribution_bins"] = sides // 4
    cfg = make_config([(keys, source)])
    channels = outputs(arrays, "class_head.predictor", family)
    count = channels // build_anchors(cfg).anchors_per_cell if channels else len(COCO_NAMES)
    rows, names, note = choose_classes(count, family, classes, source)
    return cfg.replace(classes=[BACKGROUND, *names]), rows, note


def outputs(arrays: Mapping[str, np.ndarray], layer: str, family: Family) -> int:
    """Output channels of a predictor; 0 where it is missing or its shapes are impossible."""
    names = [their_name(f"{layer}.{leaf}", family) for leaf in ("weight", "bias")]
    weight, bias = (arrays[name].shape if name in arrays else () for name in names)
    return bias[0] if len(bias) == 1 and weight == (*bias, *INPUTS) else 0


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
        note = f"classes: the {len(COCO_NAMES)} of COCO, from {count} rows by category id"
        return COCO_IDS, COCO_NAMES, note
    if count == len(COCO_NAMES):
        return tuple(range(count)), COCO_NAMES, f"classes: the {count} of COCO"
    rows = tuple(range(first, max(count, first + 1)))
    names = [f"class_{number}" for number in range(1, len(rows) + 1)]
    left = "; row 0 is taken for the background" * first
    note = f"classes: {len(rows)} without names in the file{left}; --classes=a,b,... names them"
    return rows, names, note
