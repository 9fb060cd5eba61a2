"""Boxes and deltas in MindSpore's graphs against plain Python and NumPy."""

import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.config.configuration import make_config
from src.detection import boxes as slow
from src.detection.anchors import build_anchors
from src.detection.box_coder import BoxCoder, DistributionCoder, build_distribution
from tests.references import random_boxes, slow_encode

A = 40


class Coded(nn.Cell):
    """All that a coder does, as one graph."""

    def __init__(self, anchors):
        super().__init__()
        self.coder = BoxCoder(anchors)

    def construct(self, boxes, deltas, chosen, anchor):
        coder = self.coder
        return coder.encode(boxes), coder.decode(deltas), coder.decode(chosen, anchor)


def draw(seed):
    rng = np.random.default_rng(seed)
    anchors = random_boxes(rng, A).astype(np.float32)
    boxes = np.stack([random_boxes(rng, A) for _ in range(2)]).astype(np.float32)
    deltas = rng.normal(0, 8, (2, A, 4)).astype(np.float32)
    deltas[0, 0, 2:] = 21, 30  # beyond the cap of sizes
    anchor = rng.integers(0, A, (2, 9)).astype(np.int32)
    return anchors, boxes, deltas, anchor


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_numpy(seed):
    anchors, boxes, deltas, anchor = draw(seed)
    chosen = np.take_along_axis(deltas, anchor[..., None], axis=1)
    inputs = map(ms.Tensor, (boxes, deltas, chosen, anchor))
    encoded, decoded, some = (out.asnumpy() for out in Coded(anchors)(*inputs))
    assert deltas[0, 0, 2] * slow.SIZE_VARIANCE > slow.MAX_LOG_RATIO
    expected = [[slow_encode(*pair) for pair in zip(image, anchors)] for image in boxes]
    np.testing.assert_allclose(encoded, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(decoded, slow.decode(deltas, anchors), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(some, slow.decode(chosen, anchors[anchor]), rtol=1e-5, atol=1e-3)


def test_encode_literal_numbers():
    anchor = np.array([[10, 10, 30, 50]], np.float32)  # centre (20, 30), sides 20 x 40
    box = np.array([[[15, 26, 35, 46]]], np.float32)  # centre (25, 36), sides 20 x 20
    expected = [[[5 / 20 / 0.1, 6 / 40 / 0.1, 0, math.log(0.5) / 0.2]]]
    found = BoxCoder(anchor).encode(ms.Tensor(box)).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_encode_equals_plain_python():
    rng = np.random.default_rng(3)
    boxes, anchors = (random_boxes(rng, 20).astype(np.float32) for _ in range(2))
    expected = [slow_encode(box, anchor) for box, anchor in zip(boxes.tolist(), anchors.tolist())]
    found = BoxCoder(anchors).encode(ms.Tensor(boxes[None])).asnumpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_decode_undoes_encode():
    anchors, boxes, _, _ = draw(2)
    coder = BoxCoder(anchors)
    found = coder.decode(coder.encode(ms.Tensor(boxes)))
    np.testing.assert_allclose(found.asnumpy(), boxes, rtol=1e-4, atol=1e-3)


def test_gradient_of_a_decoded_box():
    # of an anchor of 10 x 20 px; dx and dw move the right edge by 10 x 0.1 and 5 x 0.2 px
    coder = BoxCoder(np.array([[0, 0, 10, 20]], np.float32))

    def right_edge(deltas):
        return coder.decode(deltas)[..., 2].sum()

    gradient = ops.grad(right_edge)(ops.zeros((1, 1, 4)))
    np.testing.assert_allclose(gradient.asnumpy(), [[[1.0, 0, 1.0, 0]]], rtol=1e-6)


class Distributed(nn.Cell):
    """The boxes of distributions: their deltas, decoded."""

    def __init__(self, coder, anchors):
        super().__init__()
        self.distribution, self.coder = coder, BoxCoder(anchors)

    def construct(self, logits):
        deltas = self.distribution(logits)
        return deltas, self.coder.decode(deltas)


@pytest.mark.parametrize("bins", [2, 17])
def test_boxes_of_distributions_have_their_expected_sides(bins):
    keys = {
        "image_size": [64, 96],
        "assigner": "atss",
        "box_coding": "distribution",
        "box_loss": "giou",
    }
    cfg = make_config([({**keys, "distribution_bins": bins}, "test")])
    generator = build_anchors(cfg)
    levels = generator.levels(cfg.image_size)
    anchors = np.concatenate(levels)
    logits = np.random.default_rng(bins).normal(0, 4, (2, len(anchors), 4, bins))
    logits = logits.astype(np.float32)
    network = Distributed(build_distribution(cfg), anchors)
    deltas, boxes = (x.asnumpy() for x in network(ms.Tensor(logits.reshape(2, len(anchors), -1))))
    np.testing.assert_allclose(slow.decode(deltas, anchors), boxes, rtol=1e-5, atol=1e-3)
    a = 0
    for stride, level in zip(generator.strides, levels):
        for x1, y1, x2, y2 in level.tolist():
            for image in range(2):
                sides = []
                for side in logits[image, a].astype(float):
                    shares = np.exp(side - side.max())
                    sides.append(stride * (np.arange(bins) * shares).sum() / shares.sum())
                x, y = (x1 + x2) / 2, (y1 + y2) / 2
                expected = [x - sides[0], y - sides[1], x + sides[2], y + sides[3]]
                np.testing.assert_allclose(boxes[image, a], expected, rtol=1e-4, atol=2e-3)
            a += 1
    assert a == len(anchors)


def test_deltas_of_a_distribution_literal_numbers():
    # one anchor a cell of 2 x 4 strides; sides at 1, 2, 3 and 2 strides
    logits = np.full((1, 1, 4, 5), -50, np.float32)
    logits[0, 0, range(4), (1, 2, 3, 2)] = 50
    coder = DistributionCoder(np.array([[2.0, 4.0]]), bins=5)
    found = coder(ms.Tensor(logits.reshape(1, 1, 20))).asnumpy()
    np.testing.assert_allclose(found, [[[1 / 2 / 0.1, 0, math.log(2) / 0.2, 0]]], atol=1e-5)


def test_network_of_deltas_has_no_distributions():
    assert build_distribution(make_config([])) is None
