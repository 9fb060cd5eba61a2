"""The losses in plain Python and float64, one anchor at a time, from their papers."""

import math

from src.detection.assign import IGNORED
from tests.references import slow_encode, slow_iou


def slow_decode(deltas, anchor) -> list[float]:
    """The box of deltas from its anchor; sides grow by at most 1000 / 16."""
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    x = (anchor[0] + anchor[2]) / 2 + 0.1 * deltas[0] * width
    y = (anchor[1] + anchor[3]) / 2 + 0.1 * deltas[1] * height
    width *= min(math.exp(min(0.2 * deltas[2], 50)), 1000 / 16)
    height *= min(math.exp(min(0.2 * deltas[3], 50)), 1000 / 16)
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def slow_giou(a, b) -> float:
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    overlap = slow_iou(a, b)
    union = sum(areas) / (1 + overlap)  # since overlap = shared / union, and both sum to the areas
    hull = width * height
    return overlap - ((hull - union) / hull if hull > 0 else 0)


def aspect_term(a, b) -> float:
    """v of the paper, 0..1."""
    ratios = [(box[2] - box[0]) / (box[3] - box[1]) for box in (a, b)]
    return 4 / math.pi**2 * (math.atan(ratios[1]) - math.atan(ratios[0])) ** 2


def aspect_weight(a, b) -> float:
    """alpha of the paper, a constant in its gradient."""
    v = aspect_term(a, b)
    return v / ((1 - slow_iou(a, b)) + v) if v > 0 else 0.0


def slow_ciou(a, b, weight=None) -> float:
    weight = aspect_weight(a, b) if weight is None else weight
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    return slow_iou(a, b) - apart / (width**2 + height**2) - weight * aspect_term(a, b)


def slow_box_loss(name, deltas, box, anchor, beta=1.0) -> float:
    """A box loss of one anchor."""
    if name in ("giou", "ciou"):
        overlap = {"giou": slow_giou, "ciou": slow_ciou}[name]
        return 1 - overlap(slow_decode(deltas, anchor), box)
    distances = [abs(d - e) for d, e in zip(deltas, slow_encode(box, anchor))]
    if name == "smooth_l1":
        distances = [0.5 * d * d / beta if d < beta else d - 0.5 * beta for d in distances]
    return sum(distances) / 4


def log_score(logit) -> float:
    """log(sigmoid(logit)), which does not overflow."""
    return -math.log1p(math.exp(-logit)) if logit > 0 else logit - math.log1p(math.exp(logit))


def slow_class_loss(name, logit, target, *, is_object) -> float:
    """A class loss of one logit; the target is an IoU, or 0 for background."""
    score = math.exp(log_score(logit))
    positive, negative = log_score(logit), log_score(-logit)
    if name == "focal":
        if is_object:
            return -0.25 * (1 - score) ** 2 * positive
        return -0.75 * score**2 * negative
    if name == "quality":
        return -(abs(target - score) ** 2) * (target * positive + (1 - target) * negative)
    if is_object and target > 0:
        return -target * (target * positive + (1 - target) * negative)
    return -0.75 * score**2 * negative


def slow_shares(logits) -> list[float]:
    """Softmax of a list."""
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def slow_sides(logits, bins) -> list[float]:
    """Expected distances of the four sides, in strides."""
    sides = [slow_shares(logits[i * bins : (i + 1) * bins]) for i in range(4)]
    return [sum(i * share for i, share in enumerate(side)) for side in sides]


def slow_expected_box(logits, anchor, stride, bins) -> list[float]:
    """The box whose sides are at the expected distances from the anchor's centre."""
    x, y = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
    left, top, right, bottom = (stride * side for side in slow_sides(logits, bins))
    return [x - left, y - top, x + right, y + bottom]


def slow_distribution_loss(logits, box, anchor, stride, bins) -> float:
    """Distribution focal loss of one anchor, mean over its sides."""
    x, y = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2
    total = 0.0
    for i, distance in enumerate((x - box[0], y - box[1], box[2] - x, box[3] - y)):
        target = min(max(distance / stride, 0), bins - 1)
        below = min(int(target), bins - 2)
        shares = slow_shares(logits[i * bins : (i + 1) * bins])
        total -= (below + 1 - target) * math.log(shares[below])
        total -= (target - below) * math.log(shares[below + 1])
    return total / 4


def slow_loss(cfg, predicted, logits, assigned, boxes, labels, anchors, strides) -> list[float]:
    """Terms of the whole loss, and the number of positives; all inputs are nested lists."""
    bins, distributions = cfg.distribution_bins, cfg.box_coding == "distribution"
    sums, positives = [0.0, 0.0, 0.0], 0
    for n, row in enumerate(assigned):
        for a, object_ in enumerate(row):
            if object_ == IGNORED:
                continue
            own, target, raw, anchor = -1, 0.0, predicted[n][a], anchors[a]
            if object_ >= 0:
                positives += 1
                own, box = labels[n][object_], boxes[n][object_]
                if distributions:
                    found = slow_expected_box(raw, anchor, strides[a], bins)
                    overlap = {"giou": slow_giou, "ciou": slow_ciou}[cfg.box_loss](found, box)
                    sums[1] += cfg.box_weight * (1 - overlap)
                    loss = slow_distribution_loss(raw, box, anchor, strides[a], bins)
                    sums[2] += cfg.distribution_weight * loss
                else:
                    found = slow_decode(raw, anchor)
                    sums[1] += cfg.box_weight * slow_box_loss(cfg.box_loss, raw, box, anchor)
                target = slow_iou(found, box)
            for k, logit in enumerate(logits[n][a]):
                sums[0] += slow_class_loss(
                    cfg.class_loss, logit, target if k == own else 0.0, is_object=k == own
                )
    terms = sums if distributions else sums[:2]
    return [*(term / max(positives, 1) for term in terms), positives]
