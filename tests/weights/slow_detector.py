"""mmdetection's one-stage detectors in NumPy for one image, from their state dicts."""

import math

import numpy as np

from tests.models.slow_layers import slow_group_norm, windows
from tests.references import slow_nms

STRIDES = (8, 16, 32, 64, 128)
BLOCKS = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3)}


def conv(x, arrays, name, stride=1):
    """(C,H,W) through the layer with this name -> (O,H',W')."""
    weight = arrays[f"{name}.weight"]
    own = windows(x, weight.shape[-1], stride, "symmetric", 0)  # (C,H',W',k,k)
    rows = own.transpose(1, 2, 0, 3, 4).reshape(own.shape[1] * own.shape[2], -1)
    found = (rows @ weight.reshape(len(weight), -1).T).T.reshape(-1, *own.shape[1:3])
    bias = arrays.get(f"{name}.bias")
    return found if bias is None else found + bias[:, None, None]


def batch_norm(x, arrays, name):
    mean, variance, gamma, beta = (
        arrays[f"{name}.{leaf}"][:, None, None]
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def relu(x):
    return np.maximum(x, 0)


def slow_body(x, arrays, blocks=BLOCKS["50"]):
    """ResNet with the stride in the 3x3 convolution: normalised (3,H,W) -> C3, C4, C5."""
    x = relu(batch_norm(conv(x, arrays, "backbone.conv1", 2), arrays, "backbone.bn1"))
    x = windows(x, 3, 2, "symmetric", -np.inf).max(axis=(3, 4))
    levels = []
    for stage, depth in enumerate(blocks, 1):
        for index in range(depth):
            name = f"backbone.layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            y = relu(batch_norm(conv(x, arrays, f"{name}.conv1"), arrays, f"{name}.bn1"))
            y = relu(batch_norm(conv(y, arrays, f"{name}.conv2", stride), arrays, f"{name}.bn2"))
            y = batch_norm(conv(y, arrays, f"{name}.conv3"), arrays, f"{name}.bn3")
            if index == 0:
                x = conv(x, arrays, f"{name}.downsample.0", stride)
                x = batch_norm(x, arrays, f"{name}.downsample.1")
            x = relu(x + y)
        levels.append(x)
    return levels[1:]


def slow_neck(levels, arrays):
    """C3..C5 -> P3..P7; P6 is made of P5 or, where it has that many channels, of C5."""
    sums = [conv(x, arrays, f"neck.lateral_convs.{i}.conv") for i, x in enumerate(levels)]
    for i in (1, 0):
        sums[i] = sums[i] + sums[i + 1].repeat(2, axis=1).repeat(2, axis=2)
    found = [conv(x, arrays, f"neck.fpn_convs.{i}.conv") for i, x in enumerate(sums)]
    channels = arrays["neck.fpn_convs.3.conv.weight"].shape[1]
    below = levels[2] if channels == len(levels[2]) else found[2]
    found.append(conv(below, arrays, "neck.fpn_convs.3.conv", 2))
    found.append(conv(found[3], arrays, "neck.fpn_convs.4.conv", 2))
    return found


def tower(x, arrays, name):
    for index in range(4):
        x = conv(x, arrays, f"bbox_head.{name}.{index}.conv")
        norm = f"bbox_head.{name}.{index}.gn"
        if f"{norm}.weight" in arrays:
            x = slow_group_norm(x, arrays[f"{norm}.weight"], arrays[f"{norm}.bias"], 32)
        x = relu(x)
    return x


def rows(x, columns):
    """(B*columns,H,W) -> (H*W*B,columns)."""
    return x.transpose(1, 2, 0).reshape(-1, columns)


def slow_head(levels, arrays, head, classes):
    """Of each level scores (A_l,K) and boxes (A_l,4), and centerness (A_l,) or 1."""
    found = []
    for level, (x, stride) in enumerate(zip(levels, STRIDES)):
        of_boxes = tower(x, arrays, "reg_convs")
        logits = rows(conv(tower(x, arrays, "cls_convs"), arrays, f"bbox_head.{head}_cls"), classes)
        boxes = conv(of_boxes, arrays, f"bbox_head.{head}_reg")
        scale = arrays.get(f"bbox_head.scales.{level}.scale")
        if scale is not None:
            boxes = boxes * scale
        centerness = 1.0
        if head == "atss":
            centerness = sigmoid(rows(conv(of_boxes, arrays, "bbox_head.atss_centerness"), 1)[:, 0])
        anchors = slow_anchors(x.shape[1:], stride, nine=head == "retina")
        found.append((sigmoid(logits), DECODERS[head](boxes, anchors, stride), centerness))
    return found


def slow_anchors(shape, stride, *, nine):
    """(x, y, width, height) of one level's anchors, cell by cell, all sizes of a ratio together."""
    sides = [(8 * stride, 8 * stride)]
    if nine:
        sizes = [4 * stride * 2 ** (i / 3) for i in range(3)]
        # ratios are height / width
        sides = [(s / math.sqrt(r), s * math.sqrt(r)) for r in (0.5, 1.0, 2.0) for s in sizes]
    return [
        (x * stride, y * stride, width, height)
        for y in range(shape[0])
        for x in range(shape[1])
        for width, height in sides
    ]


def decode_deltas(x, anchors, deviations):
    found = []
    for deltas, (cx, cy, width, height) in zip(rows(x, 4), anchors):
        dx, dy, dw, dh = (delta * deviation for delta, deviation in zip(deltas, deviations))
        cx, cy = cx + dx * width, cy + dy * height
        limit = math.log(1000 / 16)
        width, height = width * math.exp(min(dw, limit)), height * math.exp(min(dh, limit))
        found.append((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2))
    return np.array(found)


def decode_distances(x, anchors, stride):
    found = []
    for logits, (cx, cy, *_) in zip(rows(x, 4 * 17), anchors):
        distances = []
        for side in logits.reshape(4, 17):
            shares = np.exp(side - side.max())
            distances.append(stride * (shares / shares.sum()) @ np.arange(17))
        left, top, right, bottom = distances
        found.append((cx - left, cy - top, cx + right, cy + bottom))
    return np.array(found)


DECODERS = {
    "retina": lambda x, anchors, stride: decode_deltas(x, anchors, (1, 1, 1, 1)),
    "atss": lambda x, anchors, stride: decode_deltas(x, anchors, (0.1, 0.1, 0.2, 0.2)),
    "gfl": decode_distances,
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_detections(found, sides, max_iou):
    """(score, label, box) in an image of (height, width): 1,000 of each level, then NMS."""
    candidates = []
    for scores, boxes, centerness in found:
        anchor, label = np.nonzero(scores > 0.05)
        best = np.argsort(-scores[anchor, label], kind="stable")[:1000]
        anchor, label = anchor[best], label[best]
        products = (scores * np.reshape(centerness, (-1, 1)))[anchor, label]
        clipped = np.clip(boxes[anchor], 0, [sides[1], sides[0], sides[1], sides[0]])
        candidates += list(zip(products.tolist(), label.tolist(), clipped.tolist()))
    candidates.sort(key=lambda one: -one[0])
    kept = slow_nms([box for *_, box in candidates], [c[1] for c in candidates], max_iou)
    return [candidates[index] for index in kept[:100]]
