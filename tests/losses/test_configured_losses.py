"""Every configured loss against plain Python, on the anchors of a small image."""

from collections.abc import Callable
from dataclasses import dataclass

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from src.config.configuration import Config, make_config
from src.detection.anchors import build_anchors
from src.detection.assign import BACKGROUND, IGNORED
from src.losses.detection_loss import build_loss
from tests.losses.slow_losses import slow_loss

pytestmark = pytest.mark.slow

SIZE = (64, 32)
IMAGES = 3  # of each batch, so that a loss is compiled once
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


@dataclass
class Loss:
    """A configured loss, and its graph: gradients in predictions and logits beside the values.

    The graph takes the arguments of the loss, and the weight of each of its outputs in the sum that
    gradients are of.
    """

    cfg: Config
    names: tuple[str, ...]  # of its terms
    graph: Callable

    def __call__(self, arrays, *, term: int = 0):
        """Total, terms and positives; and gradients of an output, by default the total."""
        weights = np.zeros(len(self.names) + 2, np.float32)
        weights[term] = 1
        (_, *values), gradients = self.graph(*map(ms.Tensor, (*arrays, weights)))
        return [float(value) for value in values], [gradient.asnumpy() for gradient in gradients]


@pytest.fixture(scope="module", params=COMBINATIONS, ids="-".join)
def loss(request) -> Loss:
    cfg = configure(*request.param)
    built = build_loss(cfg)

    def weighted(predicted, logits, assigned, boxes, labels, weights):
        values = built(predicted, logits, assigned, boxes, labels)
        return (ops.stack(values) * weights).sum(), *values

    return Loss(cfg, built.term_names, ms.value_and_grad(weighted, (0, 1), has_aux=True))


def draw(cfg, seed, *, images=IMAGES, positives=True):
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


def test_equals_plain_python(loss):
    cfg, anchors = loss.cfg, build_anchors(loss.cfg).boxes(SIZE).tolist()
    named = ("class_loss", "box_loss", "distribution_loss")
    assert loss.names == named[: 2 + (cfg.box_coding == "distribution")]
    for seed, positives in ((0, True), (1, True), (2, False)):
        arrays = draw(cfg, seed, positives=positives)
        (total, *found), _ = loss(arrays)
        expected = slow_loss(cfg, *(x.tolist() for x in arrays), anchors, strides_of(cfg))
        assert found == pytest.approx(expected, rel=1e-4)
        assert total == pytest.approx(sum(expected[:-1]), rel=1e-4)
        assert (expected[-1] > 0) == positives


def test_batches_weighted_by_their_positives_are_one_batch(loss):
    def undivided(arrays):
        """The total and its gradients, times what the loss was divided by."""
        (total, *_, positives), gradients = loss(arrays)
        divisor = max(positives, 1)
        return total * divisor, [gradient * divisor for gradient in gradients]

    parts = [draw(loss.cfg, seed, images=1, positives=seed != 4) for seed in (3, 4, 5)]
    whole = [np.concatenate(arrays) for arrays in zip(*parts)]
    total, expected = undivided(whole)
    sums = 0.0
    for image in range(IMAGES):
        arrays = list(whole)
        arrays[2] = np.full_like(whole[2], IGNORED)
        arrays[2][image] = whole[2][image]
        one, found = undivided(arrays)
        sums += one
        for own, wanted in zip(found, expected):
            np.testing.assert_allclose(own[image], wanted[image], rtol=1e-3, atol=1e-5)
            assert not np.delete(own, image, axis=0).any()
    assert sums == pytest.approx(total, rel=1e-5)


def test_only_anchors_with_an_object_have_a_gradient_in_their_box(loss):
    arrays = draw(loss.cfg, 6)
    _, (gradient, _) = loss(arrays)
    assert np.isfinite(gradient).all()
    has_object = arrays[2] >= 0
    assert not gradient[~has_object].any()
    moved = np.abs(gradient[has_object]).sum(-1) > 0
    assert moved.mean() > 0.9
    _, (of_classes, _) = loss(arrays, term=1)
    assert not of_classes.any()
