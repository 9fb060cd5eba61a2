"""Task alignment and its loss against plain Python, on the anchors of a small image."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from src.config.configuration import make_config
from src.detection.anchors import build_anchors
from src.detection.assign import BACKGROUND, IGNORED, build_assigner
from src.detection.box_coder import BoxCoder
from src.losses.class_losses import AlignedFocalLoss
from src.losses.detection_loss import build_loss
from src.losses.task_alignment import TaskAlignment
from tests.losses.slow_losses import (
    log_score,
    slow_class_loss,
    slow_decode,
    slow_distribution_loss,
    slow_expected_box,
    slow_giou,
)
from tests.references import slow_iou

pytestmark = pytest.mark.slow

SIZE = (64, 96)
CLASSES = 3
OBJECTS = 7  # G
CODINGS = ["delta", "distribution"]
PADDING = [0, 0, 1, 1]
# boxes of an image, and how many of the last of them are crowds
IMAGES = {
    "apart": ([[3, 5, 40, 36], [50, 20, 93, 60]], 0),
    "overlapping": ([[3, 5, 60, 50], [10, 8, 58, 62], [20, 2, 90, 44], [3, 5, 60, 50]], 0),
    "tiny": ([[8.5, 8.5, 9, 10], [9, 8, 9.5, 9], [8, 9, 10, 11], [2, 2, 14, 9], [70, 1, 72, 9]], 0),
    "crowd": ([[3, 5, 40, 36], [30, 0, 90, 64]], 1),
    "empty": ([], 0),
}  # fmt: skip


def configure(box_coding="delta", **keys):
    shared = {
        "image_size": list(SIZE),
        "classes": ["background", *"abc"],
        "scales_per_octave": 1,
        "aspect_ratios": [1.0, 2.0],
        "assigner": "task_aligned",
        "class_loss": "quality",
        "box_loss": "giou",
        "box_weight": 2.0,
        "box_coding": box_coding,
    }
    return make_config([({**shared, **keys}, "test")])


def strides_of(cfg):
    generator = build_anchors(cfg)
    levels = zip(generator.strides, generator.levels(SIZE))
    return [stride for stride, level in levels for _ in level]


def draw(cfg, seed, names=tuple(IMAGES)):
    """A batch: predicted, logits, assigned, boxes, labels; predictions fit some object roughly."""
    rng = np.random.default_rng(seed)
    assigner, batch = build_assigner(cfg), []
    anchors = assigner.anchors
    for name in names:
        boxes, crowds = IMAGES[name]
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        assigned = assigner(boxes, np.arange(len(boxes)) >= len(boxes) - crowds)
        padded = np.concatenate([boxes, [PADDING] * (OBJECTS - len(boxes))]).astype(np.float32)
        predicted = rng.normal(0, 2, (len(anchors), 4 * cfg.distribution_bins))
        if cfg.box_coding == "delta":
            near = padded[rng.integers(0, max(len(boxes), 1), len(anchors))]
            deltas = BoxCoder(anchors).encode(ms.Tensor(near[None])).asnumpy()[0]
            predicted = deltas + rng.normal(0, 1, deltas.shape)
        logits = rng.normal(-1, 2, (len(anchors), CLASSES))
        batch.append((predicted, logits, assigned, padded, rng.integers(0, CLASSES, OBJECTS)))
    kinds = (np.float32, np.float32, np.int32, np.float32, np.int32)
    return [np.stack(arrays).astype(kind) for arrays, kind in zip(zip(*batch), kinds)]


def slow_alignment(found, logits, assigned, boxes, labels, anchors, count):
    """Each anchor's object, target and weight; of one image, from its decoded boxes."""
    objects = sorted(set(assigned.tolist()) - {BACKGROUND, IGNORED})
    overlaps = {g: [slow_iou(box, boxes[g]) for box in found] for g in objects}
    fits, claims = {}, {}
    for g in objects:
        fits[g] = [math.exp(log_score(row[labels[g]])) for row in logits.tolist()]
        fits[g] = [score * overlap**6 for score, overlap in zip(fits[g], overlaps[g])]
        inside = []
        for a, (x1, y1, x2, y2) in enumerate(anchors):
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            if min(x - boxes[g][0], y - boxes[g][1], boxes[g][2] - x, boxes[g][3] - y) > 0.01:
                inside.append(a)
        inside = sorted((a for a in inside if fits[g][a] > 0), key=lambda a: -fits[g][a])
        claims[g] = [a for a in inside if fits[g][a] >= fits[g][inside[:count][-1]]]
    owners = share_out(claims, overlaps)
    last = {int(np.flatnonzero(assigned == g)[0]): g for g in objects if g not in owners.values()}
    owners |= last
    result = []
    for a, before in enumerate(assigned.tolist()):
        own, target = owners.get(a, min(before, BACKGROUND)), 0.0
        if own >= 0:
            mine = [b for b, g in owners.items() if g == own]
            share = 1.0 if a in last else fits[own][a] / max(fits[own][b] for b in mine)
            target = share * max(overlaps[own][b] for b in mine)
        result.append((own, target, 1.0 if a in last else target))
    return result


def share_out(claims, overlaps):
    """{anchor: object}, the one of highest IoU of those that claim it, then the first."""
    owners = {}
    for g in sorted(claims):
        for a in claims[g]:
            if a not in owners or overlaps[g][a] > overlaps[owners[a]][a]:
                owners[a] = g
    return owners


def decode(cfg, predicted, anchors):
    """Boxes of one image's predictions, as lists."""
    if cfg.box_coding == "delta":
        return [slow_decode(*pair) for pair in zip(predicted.tolist(), anchors)]
    rows = zip(predicted.tolist(), anchors, strides_of(cfg))
    return [slow_expected_box(*row, cfg.distribution_bins) for row in rows]


def slow_batch(cfg, predicted, *others):
    """Assigned, target and weight (N,A) each, and the boxes found, (N,A,4)."""
    anchors = build_anchors(cfg).boxes(SIZE).tolist()
    found = [decode(cfg, own, anchors) for own in predicted]
    count = cfg.task_aligned_candidates
    rows = [slow_alignment(*image, anchors, count) for image in zip(found, *others)]
    return *np.array(rows, np.float64).transpose(2, 0, 1), found


def align(cfg, arrays):
    """What the graph makes of a batch: assigned, target and weight."""
    loss, inputs = build_loss(cfg), list(map(ms.Tensor, arrays))
    if loss.distribution_loss is not None:
        inputs[0] = loss.distribution_loss.coder(inputs[0])
    predicted, logits, *others = inputs
    return [value.asnumpy() for value in loss.alignment(logits, predicted, *others)]


@pytest.mark.parametrize("count", [2, 13, 1000])
@pytest.mark.parametrize("coding", CODINGS)
def test_equals_plain_python(coding, count):
    cfg = configure(coding, task_aligned_candidates=count)
    for seed in range(3):
        arrays = draw(cfg, seed)
        assigned, target, weight = align(cfg, arrays)
        expected = slow_batch(cfg, *arrays)
        np.testing.assert_array_equal(assigned, expected[0])
        np.testing.assert_allclose(target, expected[1], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(weight, expected[2], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("coding", CODINGS)
def test_objects_have_anchors_and_crowds_stay_ignored(coding):
    cfg = configure(coding)
    arrays = draw(cfg, 0)
    assigned, target, weight = align(cfg, arrays)
    for name, row, before in zip(IMAGES, assigned, arrays[2]):
        boxes, crowds = IMAGES[name]
        assert set(row[row >= 0]) == set(range(len(boxes) - crowds)), name
        assert (row[(row < 0) & (before < 0)] == before[(row < 0) & (before < 0)]).all()
    assert (assigned[list(IMAGES).index("crowd")] == IGNORED).any()
    assert (target[assigned < 0] == 0).all() and (weight[assigned < 0] == 0).all()
    assert (target <= weight).all() and (weight <= 1).all()


def test_literal_alignment():
    # the same anchor four times, in it one object, and another object far away
    anchors = np.tile(np.array([[0, 0, 10, 10]], np.float32), (5, 1))
    anchors[4] += 90
    alignment = TaskAlignment(BoxCoder(anchors), candidates=2, alpha=1.0, beta=1.0)
    boxes = np.array([[[0, 0, 10, 10], [50, 50, 60, 60]]], np.float32)
    logits = np.array([[[0], [0], [0], [-1], [0]]], np.float32)
    assigned = np.array([[0, -1, -1, -1, 1]], np.int32)

    def find(deltas=0.0):
        deltas = np.full((1, 5, 4), deltas, np.float32)
        inputs = (logits, deltas, assigned, boxes, np.zeros((1, 2), np.int32))
        return [x.asnumpy()[0].tolist() for x in alignment(*map(ms.Tensor, inputs))]

    # three are equal, so all of them learn; the far object keeps its own, which does not fit at all
    assert find() == [[0, 0, 0, -1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 1]]
    # no predicted box overlaps its object, so each takes its last resort
    assert find(1000.0) == [[0, -1, -1, -1, 1], [0] * 5, [1, 0, 0, 0, 1]]


def test_float16_logits_are_aligned_in_float32():
    cfg = configure()
    arrays = draw(cfg, 4)
    arrays[1] = (arrays[1] * 20).astype(np.float16)  # some scores would be 0
    expected = align(cfg, [arrays[0], arrays[1].astype(np.float32), *arrays[2:]])
    for found, other in zip(align(cfg, arrays), expected):
        assert found.dtype == other.dtype
        np.testing.assert_array_equal(found, other)


def slow_terms(cfg, predicted, logits, assigned, boxes, labels):
    """Terms of the loss, and the number of positives."""
    owners, targets, weights, found = slow_batch(cfg, predicted, logits, assigned, boxes, labels)
    anchors, strides = build_anchors(cfg).boxes(SIZE).tolist(), strides_of(cfg)
    sums = np.zeros(3)
    for n, a in np.argwhere(owners != IGNORED):
        g, target, weight = int(owners[n, a]), targets[n, a], weights[n, a]
        for k, logit in enumerate(logits[n, a].tolist()):
            own = g >= 0 and labels[n, g] == k
            sums[0] += slow_class_loss("quality", logit, target if own else 0.0, is_object=own)
        if g >= 0:
            box = boxes[n, g].tolist()
            sums[1] += cfg.box_weight * weight * (1 - slow_giou(found[n][a], box))
        if g >= 0 and cfg.box_coding == "distribution":
            raw = predicted[n, a].tolist()
            term = slow_distribution_loss(raw, box, anchors[a], strides[a], cfg.distribution_bins)
            sums[2] += cfg.distribution_weight * weight * term
    positives = (owners >= 0).sum()
    return [*(sums[: 2 + (cfg.box_coding == "distribution")] / max(positives, 1)), positives]


@pytest.mark.parametrize("coding", CODINGS)
def test_loss_equals_plain_python(coding):
    cfg = configure(coding)
    loss = build_loss(cfg)
    for names in (tuple(IMAGES), ("empty", "empty")):
        arrays = draw(cfg, 5, names)
        total, *found = (float(x) for x in loss(*map(ms.Tensor, arrays)))
        expected = slow_terms(cfg, *arrays)
        assert found == pytest.approx(expected, rel=1e-3)
        assert total == pytest.approx(sum(expected[:-1]), rel=1e-3)


@pytest.mark.parametrize("coding", CODINGS)
def test_targets_and_weights_have_no_gradient(coding):
    cfg = configure(coding)
    loss, arrays = build_loss(cfg), draw(cfg, 6)
    assigned, target, weight = align(cfg, arrays)
    normaliser = (assigned >= 0).sum()
    predicted, logits, *others = map(ms.Tensor, arrays)
    owners = np.maximum(assigned, 0)
    labels = np.where(assigned >= 0, np.take_along_axis(arrays[4], owners, 1), assigned)
    own = ms.Tensor(np.take_along_axis(arrays[3], owners[..., None], 1))
    labels, target, weight = map(ms.Tensor, (labels, target, weight))
    aligned = AlignedFocalLoss(BoxCoder(build_anchors(cfg).boxes(SIZE)), beta=cfg.quality_beta)

    def fixed(predicted, logits):
        deltas = predicted
        total = aligned(logits, labels, target).sum()
        if coding == "distribution":
            deltas = loss.distribution_loss.coder(predicted)
            total += (loss.distribution_loss(predicted, own) * weight).sum()
        return (total + 2.0 * (loss.box_losses[0](deltas, own) * weight).sum()) / normaliser

    def whole(predicted, logits):
        return loss(predicted, logits, *others)[0]

    found, expected = (ops.grad(f, (0, 1))(predicted, logits) for f in (whole, fixed))
    for one, other in zip(found, expected):
        assert np.isfinite(one.asnumpy()).all()
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-4, atol=1e-7)
    in_boxes = np.abs(found[0].asnumpy()).sum(-1) > 0
    assert not in_boxes[assigned < 0].any()
    assert in_boxes[(assigned >= 0) & (weight.asnumpy() > 1e-3)].all()


@pytest.mark.parametrize("coding", CODINGS)
def test_batches_weighted_by_their_positives_are_one_batch(coding):
    cfg = configure(coding)
    loss = build_loss(cfg)

    def total(*arrays):
        terms = loss(*arrays)
        return terms[0] * ops.maximum(terms[-1], 1.0)  # times what the loss was divided by

    graph = ms.value_and_grad(total, (0, 1))
    arrays = draw(cfg, 7)
    value, whole = graph(*map(ms.Tensor, arrays))
    parts = [graph(*(ms.Tensor(x[i : i + 1]) for x in arrays)) for i in range(len(IMAGES))]
    assert sum(float(part) for part, _ in parts) == pytest.approx(float(value), rel=1e-5)
    for i, (_, gradients) in enumerate(parts):
        for one, other in zip(gradients, whole):
            np.testing.assert_allclose(one[0].asnumpy(), other[i].asnumpy(), rtol=1e-3, atol=1e-5)
