"""Every configured loss against plain Python, on the anchors of a small image."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from src.config.configuration import make_config
from src.detection.anchors import build_anchors
from src.detection.assign import BACKGROUND, IGNORED
from src.losses.detection_loss import build_loss
from tests.losses.slow_losses import slow_loss

pytestmark = pytest.mark.slow

SIZE = (64, 32)
COMBINATIONS = [
    ("focal", "smooth_l1", "delta"),
    ("focal", "l1", "delta"),
    ("quality", "giou", "delta"),
    ("varifocal", "ciou", "delta"),
    ("quality", "giou", "distribution"),
    ("varifocal", "ciou", "distribution"),
]


def configure(class_loss, box_loss, box_coding):
    keys = {
        "image_size": list(SIZE),
        "assigner": "atss",
        "classes": ["background", "a", "b", "c"],
        "scales_per_octave": 1,
        "aspect_ratios": [1.0, 2.0],
        "class_loss": class_loss,
        "box_loss": box_loss,
        "box_coding": box_coding,
        "box_weight": 2.0,
    }
    return make_config([(keys, "test")])


def draw(cfg, seed, *, images=2, positives=True):
    """Predictions and targets: predicted, logits, assigned, boxes, labels."""
    rng = np.random.default_rng(seed)
    anchors = build_anchors(cfg).boxes(SIZE)
    count = len(anchors)
    outputs = 4 * cfg.distribution_bins if cfg.box_coding == "distribution" else 4
    predicted = rng.normal(0, 2, (images, count, outputs))
    if outputs == 4:
        predicted[:, ::7, 2:] = rng.normal(0, 12, predicted[:, ::7, 2:].shape)  # tiny and huge
        predicted[:, ::5, :2] *= 20  # far away
    corners = rng.uniform(-5, 50, (images, 4, 2))
    sides = np.array([[20, 9], [0.5, 0.2], [900, 700], [8, 30]]) * rng.uniform(0.7, 1.4, (4, 2))
    boxes = np.concatenate([corners, corners + sides], axis=-1)
    assigned = rng.choice([BACKGROUND, IGNORED, 0, 1, 2, 3], (images, count))
    if not positives:
        assigned = np.minimum(assigned, BACKGROUND)
    labels = rng.integers(0, 3, (images, 4))
    kinds = (np.float32, np.float32, np.int32, np.float32, np.int32)
    arrays = (predicted, rng.normal(0, 3, (images, count, 3)), assigned, boxes, labels)
    return [array.astype(kind) for array, kind in zip(arrays, kinds)]


def strides_of(cfg):
    generator = build_anchors(cfg)
    levels = zip(generator.strides, generator.levels(SIZE))
    return [stride for stride, level in levels for _ in level]


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_equals_plain_python(combination):
    cfg = configure(*combination)
    loss, anchors = build_loss(cfg), build_anchors(cfg).boxes(SIZE).tolist()
    named = ("class_loss", "box_loss", "distribution_loss")
    assert loss.term_names == named[: 2 + (combination[2] == "distribution")]
    for seed, positives in ((0, True), (1, True), (2, False)):
        arrays = draw(cfg, seed, positives=positives)
        total, *found = (float(x) for x in loss(*map(ms.Tensor, arrays)))
        expected = slow_loss(cfg, *(x.tolist() for x in arrays), anchors, strides_of(cfg))
        assert found == pytest.approx(expected, rel=1e-4)
        assert total == pytest.approx(sum(expected[:-1]), rel=1e-4)
        assert (expected[-1] > 0) == positives


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_batches_weighted_by_their_positives_are_one_batch(combination):
    cfg = configure(*combination)
    loss = build_loss(cfg)

    def total(predicted, logits, *others):
        terms = loss(predicted, logits, *others)
        return terms[0] * ops.maximum(terms[-1], 1.0)  # times what the loss was divided by

    graph = ms.value_and_grad(total, (0, 1))

    def gradients(arrays):
        found, both = graph(*map(ms.Tensor, arrays))
        return float(found), [gradient.asnumpy() for gradient in both]

    parts = [draw(cfg, seed, images=1, positives=seed != 4) for seed in (3, 4, 5)]
    whole = [np.concatenate(arrays) for arrays in zip(*parts)]
    total, expected = gradients(whole)
    sums, found = zip(*(gradients(part) for part in parts))
    assert sum(sums) == pytest.approx(total, rel=1e-5)
    for one, others in zip(expected, zip(*found)):
        np.testing.assert_allclose(np.concatenate(others), one, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_only_anchors_with_an_object_have_a_gradient_in_their_box(combination):
    cfg = configure(*combination)
    loss, arrays = build_loss(cfg), draw(cfg, 6)

    def total(predicted, *others):
        return loss(predicted, *others)[0]

    def class_loss(predicted, *others):
        return loss(predicted, *others)[1]

    inputs = tuple(map(ms.Tensor, arrays))
    gradient = ops.grad(total)(*inputs).asnumpy()
    assert np.isfinite(gradient).all()
    has_object = arrays[2] >= 0
    assert not gradient[~has_object].any()
    moved = np.abs(gradient[has_object]).sum(-1) > 0
    assert moved.mean() > 0.9
    assert not ops.grad(class_loss)(*inputs).asnumpy().any()
