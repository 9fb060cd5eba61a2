"""Whole detectors of torchvision and mmdetection: recognised, converted, equal to the original."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.detection.anchors import build_anchors, level_counts
from src.detection.boxes import area, decode, iou
from src.detection.postprocess import build_postprocessor
from src.models.ssd import build_ssd
from src.weights.detectors import converted, find_detector, is_frozen
from src.weights.loading import set_parameters
from tests.weights.golden import seeded_detector as seeded
from tests.weights.shapes import SHAPES, mmdetection_shapes
from tests.weights.slow_detector import slow_body, slow_detections, slow_head, slow_neck

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = {"v1": "the first version of torchvision", "v2": "the second version of torchvision"}
CANVAS = (224, 224)
COCO_IDS = np.setdiff1d(np.arange(seeded.ROWS), seeded.UNNAMED)
IMAGE_MEAN, IMAGE_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Stages(nn.Cell):
    """What a detector computes on its way, from float32 images."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network, self.rest = network, Rest(network)

    def construct(self, images):
        body = self.network.body(images)
        return (*body, *self.rest(*body))


class Rest(nn.Cell):
    """What a detector computes of its backbone's levels."""

    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, *body):
        levels = self.network.fpn(*body)
        predicted, logits = self.network.predictions(levels)
        return (*levels, self.network.deltas(predicted), logits)


def load(arrays, *, epsilon=None, size=CANVAS):
    """A detector of another project as a network, and its configuration on a canvas."""
    found = find_detector(arrays, "a.pth")
    cfg = found.config.replace(image_size=size, resize="stretch")
    network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
    own = converted(found, "a.pth", frozen_epsilon=epsilon)
    set_parameters(network.parameters_dict(), own, list(own))
    return network.set_train(False), cfg


def batch():
    """The pictures on one canvas (3,H,W,3) float32, and the factor of each."""
    scaled = [seeded.resized(seeded.picture(number)) for number in range(len(seeded.SIDES))]
    return np.stack([seeded.canvas(i, IMAGE_MEAN, CANVAS) for i, _ in scaled]), scaled


def by_ratio(array):
    """(N,A,...) with the anchors of a cell in torchvision's order: all sizes of a ratio."""
    grid = array.reshape(len(array), -1, 3, 3, array.shape[-1])
    return grid.swapaxes(2, 3).reshape(array.shape)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_stage_is_torchvision_s(version):
    arrays = seeded.detector_weights(SHAPES[version])
    found = find_detector(arrays, "a.pth")
    assert VERSIONS[version] in found.report()
    assert is_frozen(arrays, found) == (version == "v1")
    network, cfg = load(arrays, epsilon=0.0 if version == "v1" else None)
    images, scaled = batch()
    outputs = [output.asnumpy() for output in Stages(network)(ms.Tensor(images))]
    *levels, deltas, logits = outputs
    anchors = build_anchors(cfg).boxes(CANVAS)
    names = ("C3", "C4", "C5", "P3", "P4", "P5", "P6", "P7")
    tensors = dict(zip(names, levels)) | {
        "boxes": by_ratio(np.stack([decode(each, anchors) for each in deltas])),
        "logits": by_ratio(logits),
    }
    with np.load(GOLDEN / "retinanet.npz") as golden:
        for name, tensor in tensors.items():
            wanted = golden[f"{version}.{name}"]
            own = seeded.sampled(name, tensor)
            atol = 1e-4 * np.abs(wanted).max()
            np.testing.assert_allclose(own, wanted, rtol=0, atol=atol, err_msg=name)
            assert wanted.std() > 0.05 * np.abs(wanted).max()
        assert list(cfg.classes[1:]) == golden["names"].tolist()
        for number in range(len(images)):
            wanted = [golden[f"{version}.{key}.{number}"] for key in ("boxes", "scores", "labels")]
            check_detections(
                cfg,
                deltas[number],
                logits[number],
                anchors,
                scaled[number],
                seeded.SIDES[number],
                wanted,
            )


def check_detections(cfg, deltas, logits, anchors, scaled, sides, wanted):
    """Compares detections but for the near-tied ones around the last, and those it suppresses."""
    postprocess = build_postprocessor(cfg)
    found = postprocess.decoded(deltas, logits, anchors, level_counts(CANVAS, len(anchors)))
    image, _ = scaled
    scale = np.array([image.shape[1] / sides[1], image.shape[0] / sides[0]], np.float32)
    own = postprocess([found.in_image(scale, np.array(sides[::-1], np.float32))])
    boxes, scores, labels = wanted
    real = np.isin(labels, COCO_IDS) & (area(boxes) > 0)  # torchvision keeps those in the margin
    boxes, scores, labels = boxes[real], scores[real], np.searchsorted(COCO_IDS, labels[real])
    same = iou(boxes, own.boxes) > 0.999
    same &= labels[:, None] == own.labels[None]
    same &= np.abs(scores[:, None] - own.scores[None]) < 1e-4
    lost = ~same.any(axis=1)
    assert lost.mean() <= 0.01, (boxes[lost], scores[lost], labels[lost])
    # boxes in the margin take places among torchvision's 300
    extra = ~same.any(axis=0) & (own.scores > scores.min() + 1e-4)
    assert extra.mean() <= 0.01
    assert len(scores) > 150


SMALL_CANVAS = (64, 96)
HEADS = [("retina", True, 0.5), ("retina", False, 0.5), ("atss", False, 0.6), ("gfl", False, 0.6)]


@pytest.fixture(scope="module")
def bodies():
    """C3, C4 and C5 of a picture, by NumPy and by a network, and the network's weights."""
    arrays = seeded.detector_weights(mmdetection_shapes("gfl"))
    pixels = (small_picture() - IMAGE_MEAN) / IMAGE_STD
    slow = slow_body(pixels.transpose(2, 0, 1), arrays)
    network, _ = load(arrays, size=SMALL_CANVAS)
    backbone = network.backbone
    found = backbone(ms.Tensor(pixels.transpose(2, 0, 1)[None].astype(np.float32)))
    weights = {p.name: p.asnumpy() for p in backbone.get_parameters()}
    return slow, found, weights


def small_picture() -> np.ndarray:
    return seeded.picture(0)[: SMALL_CANVAS[0], : SMALL_CANVAS[1]].astype(np.float32)


def check_stages(found, wanted):
    for number, (own, other) in enumerate(zip(found, wanted, strict=True)):
        atol = 1e-4 * np.abs(other).max()
        np.testing.assert_allclose(own, other, rtol=0, atol=atol, err_msg=number)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "from_c5", "max_iou"), HEADS)
def test_every_stage_is_mmdetection_s(bodies, head, from_c5, max_iou):
    slow_levels, body, weights = bodies  # all heads have the same backbone
    check_stages([level.asnumpy()[0] for level in body], slow_levels)
    arrays = seeded.detector_weights(mmdetection_shapes(head, from_c5=from_c5))
    network, cfg = load(arrays, size=SMALL_CANVAS)
    own = {p.name: p.asnumpy() for p in network.backbone.get_parameters()}
    assert own.keys() == weights.keys()
    assert all(np.array_equal(own[name], weights[name]) for name in own)
    assert np.allclose(network.mean.asnumpy().ravel(), IMAGE_MEAN)
    assert np.allclose(network.inverse_std.asnumpy().ravel(), 1 / np.array(IMAGE_STD))
    *levels, deltas, logits = [output.asnumpy()[0] for output in Rest(network)(*body)]
    pyramid = slow_neck(slow_levels, arrays)
    check_stages(levels, pyramid)
    slow = slow_head(pyramid, arrays, head, 80)
    anchors = build_anchors(cfg).boxes(SMALL_CANVAS)
    boxes = np.concatenate([boxes for _, boxes, _ in slow])
    scores = np.concatenate([s * np.reshape(c, (-1, 1)) for s, _, c in slow])
    own = decode(deltas, anchors)[None]
    own, own_logits = (by_ratio(own), by_ratio(logits[None])) if head == "retina" else (
        own, logits[None])  # fmt: skip
    np.testing.assert_allclose(own[0], boxes, rtol=0, atol=1e-4 * np.abs(boxes).max())
    np.testing.assert_allclose(1 / (1 + np.exp(-own_logits[0])), scores, rtol=0, atol=1e-4)

    postprocess, wanted = build_postprocessor(cfg), slow_detections(slow, SMALL_CANVAS, max_iou)
    found = postprocess.decoded(deltas, logits, anchors, level_counts(SMALL_CANVAS, len(anchors)))
    size = np.array(SMALL_CANVAS[::-1], np.float32)
    found = postprocess([found.in_image(np.ones(2, np.float32), size)])
    # ours also drops products of score and centerness that are below the threshold
    wanted = [one for one in wanted if one[0] > cfg.score_threshold]
    assert len(wanted) > 20
    assert abs(len(wanted) - len(found.scores)) <= 1
    same = [
        any(
            label == own_label
            and abs(score - own_score) < 1e-4
            and np.abs(own_box - box).max() < 0.05
            for own_score, own_label, own_box in zip(found.scores, found.labels, found.boxes)
        )
        for score, label, box in wanted
    ]
    assert np.mean(same) >= 0.98
