"""How well pairs of boxes overlap, inside MindSpore's graphs.

Boxes a and b are (N,A,4) in pixels, with x2 >= x1 and y2 >= y1; results are (N,A). Values and
gradients are finite for all finite boxes, also where they are apart, equal or without area.
"""

import math

from mindspore import ops

EPSILON = 1e-7  # square pixels, or a ratio: keeps divisors above 0, invisible for boxes of a pixel


def iou(a, b):
    """Intersection over union; 0 if both are empty."""
    shared, union = shared_and_union(a, b)
    return shared / (union + EPSILON)


def giou(a, b):
    """Generalised IoU (Rezatofighi et al., 2019): less the share of the hull outside both."""
    shared, union = shared_and_union(a, b)
    hull = product(hull_sides(a, b))
    return shared / (union + EPSILON) - (hull - union) / (hull + EPSILON)


def ciou(a, b):
    """Complete IoU (Zheng et al., 2020): less the distance of the centres and of the aspect ratios.

    As in the paper, the weight of the aspect ratios has no gradient.
    """
    overlap = iou(a, b)
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) * 0.5  # (N,A,2)
    hull = hull_sides(a, b)
    distance = (apart * apart).sum(-1) / ((hull * hull).sum(-1) + EPSILON)
    angle = 2 / math.pi * (aspect_angle(a) - aspect_angle(b))
    aspect = angle * angle
    weight = ops.stop_gradient(aspect / (1 - overlap + aspect + EPSILON))
    return overlap - distance - weight * aspect


def shared_and_union(a, b):
    """Areas of the intersection and of the union."""
    high, low = ops.minimum(a[..., 2:], b[..., 2:]), ops.maximum(a[..., :2], b[..., :2])
    shared = product(ops.relu(high - low))
    return shared, product(sides(a)) + product(sides(b)) - shared


def hull_sides(a, b):
    """Sides (N,A,2) of the smallest box around both."""
    high, low = ops.maximum(a[..., 2:], b[..., 2:]), ops.minimum(a[..., :2], b[..., :2])
    return high - low


def aspect_angle(boxes):
    """The angle between a box's height and its diagonal, 0..pi/2."""
    extent = sides(boxes)
    return ops.atan(extent[..., 0] / (extent[..., 1] + EPSILON))


def sides(boxes):
    """Widths and heights (N,A,2)."""
    return boxes[..., 2:] - boxes[..., :2]


def product(pairs):
    """Pairs (N,A,2) -> (N,A); unlike prod(), with a gradient at 0."""
    return pairs[..., 0] * pairs[..., 1]
