"""A network that predicts distributions: raw in training, deltas in inference, files, float16."""

import mindspore as ms
import numpy as np
import pytest

from benchmarks.updates import make_batch
from src.detection.anchors import build_anchors
from src.detection.boxes import clip
from src.models.candidates import Candidates
from src.models.layers import use_float16
from src.models.ssd import build_ssd
from src.training.setup import build_step
from tests.losses.slow_losses import slow_expected_box
from tests.networks import excite

pytestmark = pytest.mark.usefixtures("narrow")

KEYS = {
    "assigner": "atss",
    "box_coding": "distribution",
    "box_loss": "giou",
    "class_loss": "quality",
    "box_weight": 2.0,
    "scales_per_octave": 1,
    "aspect_ratios": (1.0, 2.0),
}


@pytest.fixture
def cfg(small):
    return small.replace(**KEYS, freeze_norms="all")  # so that norms do the same in training


def build(cfg):
    return build_ssd(cfg, build_anchors(cfg).anchors_per_cell)


def test_inference_gives_the_boxes_that_are_expected(cfg):
    generator, network = build_anchors(cfg), excite(build(cfg))
    levels = generator.levels(cfg.image_size)
    anchors = np.concatenate(levels)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    images = ms.Tensor(images)
    deltas, _ = network(images)
    assert deltas.shape == (2, len(anchors), 4)
    candidates = Candidates(network, anchors, cfg.image_size, count=len(anchors))
    boxes, scores, _ = (x.asnumpy() for x in candidates.set_train(False)(images))

    raw, logits = (x.asnumpy() for x in network.set_train(True)(images))
    assert raw.shape == (2, len(anchors), 4 * cfg.distribution_bins)
    strides = np.repeat(generator.strides, [len(level) for level in levels])
    for image in range(2):
        of_classes = 1 / (1 + np.exp(-logits[image]))  # (A,K)
        for box, score in zip(boxes[image][:20], scores[image][:20]):
            near = np.flatnonzero(np.isclose(of_classes, score, rtol=1e-5).any(axis=1))
            assert len(near)
            expected = [
                slow_expected_box(
                    raw[image, a].tolist(), anchors[a].tolist(), strides[a], cfg.distribution_bins
                )
                for a in near
            ]
            errors = np.abs(clip(np.array(expected), 64, 64) - box).max(axis=1)
            assert errors.min() < 1e-2


def test_float16_network_makes_boxes_in_float32(cfg):
    network, raw = build(cfg), np.random.default_rng(0).normal(0, 4, (1, 172, 68))
    raw = ms.Tensor(raw.astype(np.float32))
    expected = network.distribution(raw).asnumpy()
    other = build(cfg)
    use_float16(other)
    found = other.distribution(raw)
    assert found.dtype == ms.float32
    np.testing.assert_array_equal(found.asnumpy(), expected)


@pytest.mark.slow
def test_float16_network_trains_as_a_float32_one_up_to_rounding(cfg):
    cfg = cfg.replace(batch_size=2, freeze_norms="none")
    reports = []
    for halved in (False, True):
        network = build(cfg)
        if halved:  # on CPU MindSpore stores float16 and calculates in float32
            use_float16(network)
        step = build_step(cfg, network)
        reports.append([step([make_batch(cfg)], 0.01) for _ in range(2)])
    (first, second), (halved_first, halved_second) = reports
    for name in ("loss", "class_loss", "box_loss", "distribution_loss", "gradient_norm"):
        assert halved_first.numbers()[name] == pytest.approx(first.numbers()[name], rel=1e-2)
    assert halved_second.loss < halved_first.loss
    assert halved_second.loss == pytest.approx(second.loss, rel=1e-2)
