"""Names and shapes of detectors' state dicts."""

import json
import re
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
SHAPES = json.loads((GOLDEN / "retinanet_shapes.json").read_text())  # of torchvision's "v1", "v2"

OF_BACKBONE = re.compile(r"(inner_blocks\.\d\.0|p6)\.weight")  # take what the backbone gives


def small_shapes() -> dict[str, list[int]]:
    """Those of "v2" with the backbone of narrow_resnet.py: an eighth as wide, a block a stage."""
    small = {}
    for name, shape in SHAPES["v2"].items():
        if ".body." in name:
            shape = [size // 8 if size % 64 == 0 else size for size in shape]
        elif OF_BACKBONE.search(name):
            shape = [shape[0], shape[1] // 8, *shape[2:]]
        if not re.search(r"layer\d\.[1-9]", name):
            small[name] = shape
    return small


def mmdetection_shapes(head, *, classes=80, from_c5=False):
    """Names and shapes of mmdetection's RetinaNet ("retina"), ATSS or GFL with a ResNet-50."""
    body = "backbone.body."
    shapes = {n.replace(body, "backbone."): s for n, s in SHAPES["v2"].items() if body in n}

    def conv(name, outputs, inputs, kernel=3, bias=True):
        shapes[f"{name}.weight"] = [outputs, inputs, kernel, kernel]
        if bias:
            shapes[f"{name}.bias"] = [outputs]

    for index, channels in enumerate((512, 1024, 2048)):
        conv(f"neck.lateral_convs.{index}.conv", 256, channels, 1)
    for index in range(5):
        inputs = 2048 if index == 3 and from_c5 else 256
        conv(f"neck.fpn_convs.{index}.conv", 256, inputs)
    for tower in ("cls_convs", "reg_convs"):
        for index in range(4):
            conv(f"bbox_head.{tower}.{index}.conv", 256, 256, bias=head == "retina")
            if head != "retina":
                norm = f"bbox_head.{tower}.{index}.gn"
                shapes |= {f"{norm}.weight": [256], f"{norm}.bias": [256]}
    anchors = 9 if head == "retina" else 1
    conv(f"bbox_head.{head}_cls", anchors * classes, 256)
    conv(f"bbox_head.{head}_reg", anchors * (68 if head == "gfl" else 4), 256)
    if head != "retina":
        shapes |= {f"bbox_head.scales.{level}.scale": [] for level in range(5)}
    if head == "atss":
        conv("bbox_head.atss_centerness", 1, 256)
    if head == "gfl":
        shapes["bbox_head.integral.project"] = [17]
    return shapes


def blank(shapes, prefix=""):
    """A state dict of zeros that takes no memory."""
    return {prefix + n: np.broadcast_to(np.float32(0), shape) for n, shape in shapes.items()}
