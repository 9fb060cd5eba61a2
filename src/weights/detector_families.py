"""The detectors of torchvision and mmdetection that are this network with other names."""

import re
from dataclasses import dataclass
from typing import Any

from src.config.open_keys import IMAGE_MEAN, IMAGE_STD
from src.weights.convert import NORM_NAMES

TORCH_NAMES = {ours: theirs for theirs, ours in NORM_NAMES.items()}  # of norms' parameters

Names = tuple[tuple[str, str], ...]  # pattern of a layer's name here, and its name in the file


@dataclass(frozen=True)
class Family:
    """A kind of detector.

    Attributes:
        title: for messages.
        names: the first pattern that a layer's name here starts with gives its name in the file.
        keys: of the configuration, besides those that follow from shapes.
        sign: parameters that the files of this family have.
        absent: a parameter that they lack, where another family has all of `sign`.
        counts_background: whether row 0 of the class layer stands for the background, and 91 rows
            for COCO's category ids.
        unit_deltas: whether deltas are learnt without variances.
    """

    title: str
    names: Names
    keys: dict[str, Any]
    sign: tuple[str, ...]
    absent: str = ""
    counts_background: bool = False
    unit_deltas: bool = False


TORCHVISION_NAMES: Names = (
    (r"backbone\.", "backbone.body."),
    (r"fpn\.laterals\.(\d)\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"fpn\.outputs\.(\d)\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"fpn\.extras\.0\.conv\.", "backbone.fpn.extra_blocks.p6."),
    (r"fpn\.extras\.1\.conv\.", "backbone.fpn.extra_blocks.p7."),
    (r"class_head\.convs\.(\d)\.", r"head.classification_head.conv.\1.0."),
    (r"class_head\.norms\.0\.(\d)\.", r"head.classification_head.conv.\1.1."),
    (r"class_head\.predictor\.", "head.classification_head.cls_logits."),
    (r"box_head\.convs\.(\d)\.", r"head.regression_head.conv.\1.0."),
    (r"box_head\.norms\.0\.(\d)\.", r"head.regression_head.conv.\1.1."),
    (r"box_head\.predictor\.", "head.regression_head.bbox_reg."),
)
TORCHVISION_SIGN = ("head.classification_head.cls_logits.weight",)
GROUP_NORM = "head.classification_head.conv.0.1.weight"  # of torchvision's second version


def mmdetection_names(head: str) -> Names:
    """Names of mmdetection's one-stage detectors; `head` is part of the predictors' names."""
    return (
        (r"backbone\.", "backbone."),
        (r"fpn\.laterals\.(\d)\.conv\.", r"neck.lateral_convs.\1.conv."),
        (r"fpn\.outputs\.(\d)\.conv\.", r"neck.fpn_convs.\1.conv."),
        (r"fpn\.extras\.0\.conv\.", "neck.fpn_convs.3.conv."),
        (r"fpn\.extras\.1\.conv\.", "neck.fpn_convs.4.conv."),
        (r"class_head\.convs\.(\d)\.", r"bbox_head.cls_convs.\1.conv."),
        (r"class_head\.norms\.0\.(\d)\.", r"bbox_head.cls_convs.\1.gn."),
        (r"class_head\.predictor\.", f"bbox_head.{head}_cls."),
        (r"box_head\.convs\.(\d)\.", r"bbox_head.reg_convs.\1.conv."),
        (r"box_head\.norms\.0\.(\d)\.", r"bbox_head.reg_convs.\1.gn."),
        (r"box_head\.predictor\.", f"bbox_head.{head}_reg."),
        (r"box_head\.centerness\.", f"bbox_head.{head}_centerness."),
        (r"box_head\.scales", "bbox_head.scales"),  # there a number each, see `with_scales`
    )


COMMON = {
    "padding": "symmetric",
    "image_mean": IMAGE_MEAN,
    "image_std": IMAGE_STD,
    "image_size": (800, 1344),
    "resize": "short_side",
    "short_side": 800,
    "long_side": 1333,
    "canvas_step": 32,  # both projects pad a single image to multiples of it
    "eval_batch_size": 1,  # an image takes about 3 GB on a CPU
    "anchor_offset": 0.0,
    "fpn_norm": "none",
    "fpn_padding": "symmetric",
    "head_activation": "relu",
    "score_threshold": 0.05,
    "candidates_per_level": 1000,
}
NINE_ANCHORS = {
    "anchor_size": 4.0,
    "scales_per_octave": 3,
    "aspect_ratios": (2.0, 1.0, 0.5),  # width / height
    "nms_iou": 0.5,
}
TORCHVISION = {
    **COMMON,
    **NINE_ANCHORS,
    "anchor_pixels": "whole",
    "fpn_relu": "p6",
    "max_detections": 300,
}
MMDETECTION = {**COMMON, "fpn_relu": "none", "max_detections": 100}
# of plain deltas there; in variances centres weigh 5 / 4 of that and sides 5 / 8
L1 = {"box_loss": "l1", "box_weight": 0.5}
ONE_ANCHOR = {
    "anchor_size": 8.0,
    "scales_per_octave": 1,
    "aspect_ratios": (1.0,),
    "nms_iou": 0.6,
    "head_norm": "group",
    "level_scale": True,
    "assigner": "atss",
    "box_loss": "giou",
    "box_weight": 2.0,
}

FAMILIES = (
    Family(
        "RetinaNet, the first version of torchvision",
        TORCHVISION_NAMES,
        {**TORCHVISION, **L1, "head_norm": "none"},
        TORCHVISION_SIGN,
        absent=GROUP_NORM,
        counts_background=True,
        unit_deltas=True,
    ),
    Family(
        "RetinaNet, the second version of torchvision",
        TORCHVISION_NAMES,
        {**TORCHVISION, "head_norm": "group", "box_loss": "giou"},
        (*TORCHVISION_SIGN, GROUP_NORM),
        counts_background=True,
        unit_deltas=True,
    ),
    Family(
        "RetinaNet of mmdetection",
        mmdetection_names("retina"),
        {**MMDETECTION, **NINE_ANCHORS, **L1, "head_norm": "none"},
        ("bbox_head.retina_cls.weight",),
        unit_deltas=True,
    ),
    Family(
        "ATSS of mmdetection",
        mmdetection_names("atss"),
        {**MMDETECTION, **ONE_ANCHOR, "centerness": True},
        ("bbox_head.atss_cls.weight",),
    ),
    Family(
        "GFL of mmdetection",
        mmdetection_names("gfl"),
        {**MMDETECTION, **ONE_ANCHOR, "box_coding": "distribution", "class_loss": "quality"},
        ("bbox_head.gfl_cls.weight",),
    ),
)


def their_name(name: str, family: Family) -> str:
    """The name in the family's files of a parameter, or of a layer that ends in a point."""
    for pattern, theirs in family.names:
        if begin := re.match(pattern, name):
            layer, rest = begin.expand(theirs), name[begin.end() :]
            break
    else:
        return name
    rest = rest.replace("down_sample_layer.", "downsample.")
    head, point, leaf = rest.rpartition(".")
    return f"{layer}{head}{point}{TORCH_NAMES.get(leaf, leaf)}"


def part_of(name: str, family: Family) -> str:
    """The part of the network that a name in a file is nearest to."""
    if name.startswith(("backbone.fpn.", "neck.")):
        return "pyramid"
    return "backbone" if name.startswith(their_name("backbone.", family)) else "heads"
