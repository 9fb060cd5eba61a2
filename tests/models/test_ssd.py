"""Names, shapes, initial values and costs of the detector."""

import mindspore as ms
import numpy as np
import pytest

from benchmarks.complexity import count_costs
from src.config.configuration import make_config
from src.models.ssd import build_ssd, initialize
from src.weights.coco_classes import COCO_NAMES
from tests.networks import make_network


@pytest.fixture(scope="module")
def full():
    """The base recipe's network; never run here."""
    return build_ssd(make_config([({"classes": COCO_NAMES}, "test")]), anchors_per_cell=6)


def test_backbone_has_mindspores_names(full):
    names = {name[len("backbone.") :] for name in full.backbone.parameters_dict()}
    norms = ("gamma", "beta", "moving_mean", "moving_variance")
    expected = {"conv1.weight"} | {f"bn1.{n}" for n in norms}
    for stage, depth in enumerate((3, 4, 6, 3), 1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for index in (1, 2, 3):
                expected.add(f"{prefix}.conv{index}.weight")
                expected |= {f"{prefix}.bn{index}.{n}" for n in norms}
        expected.add(f"layer{stage}.0.down_sample_layer.0.weight")
        expected |= {f"layer{stage}.0.down_sample_layer.1.{n}" for n in norms}
    assert names == expected


def test_every_level_has_norms_of_its_own_and_shares_convolutions(full):
    names = full.class_head.parameters_dict()
    assert sum(name.endswith("gamma") for name in names) == 5 * 4
    assert sum(name.endswith("weight") for name in names) == 4 + 1


def test_initial_values(full):
    bias = full.class_head.predictor.bias.asnumpy()
    np.testing.assert_allclose(bias, -4.59512, rtol=1e-5)  # -log(99)
    assert (full.box_head.predictor.bias.asnumpy() == 0).all()
    assert full.class_head.convs[0].weight.asnumpy().std() == pytest.approx(0.01, rel=0.02)
    weight = full.backbone.layer2[1].conv2.weight.asnumpy()
    assert weight.std() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    last = {
        name: c.last_norm.gamma for name, c in full.cells_and_names() if hasattr(c, "last_norm")
    }
    assert len(last) == 16
    assert all((gamma.asnumpy() == np.float32(0.3)).all() for gamma in last.values())
    others = full.backbone.bn1.gamma.asnumpy()
    assert (others == 1).all()


def test_seed_decides_the_weights():
    networks = [make_network(backbone="resnet18", fpn_channels=8) for _ in range(3)]
    for network, seed in zip(networks, (1, 1, 2)):
        initialize(network, seed)
    first, same, other = (n.backbone.conv1.weight.asnumpy() for n in networks)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_costs_at_640_against_a_hand_count(full):
    costs = count_costs(full, (640, 640))
    stem = 320**2 * 7 * 7 * 3 * 64
    stages = 0
    sizes = {64: 160, 128: 80, 256: 40, 512: 20}
    inputs = 64
    for width, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        cells = sizes[width] ** 2
        first_cells = cells if width == 64 else 4 * cells  # the first 1x1 sees the larger input
        stages += first_cells * inputs * width + cells * (9 * width**2 + 4 * width**2)
        stages += cells * inputs * 4 * width  # projection
        stages += (depth - 1) * cells * (4 * width * width * 2 + 9 * width**2)
        inputs = 4 * width
    assert costs["backbone"].multiply_adds == stem + stages
    cells = 80**2 + 40**2 + 20**2
    laterals = (80**2 * 512 + 40**2 * 1024 + 20**2 * 2048) * 256
    smoothing = (cells + 10**2 + 5**2) * 9 * 256 * 256
    assert costs["fpn"].multiply_adds == laterals + smoothing
    cells += 10**2 + 5**2
    tower = cells * 4 * 9 * 256 * 256
    assert costs["box_head"].multiply_adds == tower + cells * 9 * 256 * 6 * 4
    assert costs["class_head"].multiply_adds == tower + cells * 9 * 256 * 6 * 80
    assert costs["total"].multiply_adds == pytest.approx(90e9, rel=0.02)


def test_parameters_against_a_hand_count(full):
    costs = count_costs(full, (640, 640))
    # torchvision's ResNet-50 has 25,557,032 with its classifier of 2048 x 1000 + 1000
    assert costs["backbone"].parameters == 25_557_032 - 2_049_000
    # three laterals, five 3x3 convolutions, eight norms of 2 x 256
    assert costs["fpn"].parameters == 3584 * 256 + 5 * 9 * 256**2 + 8 * 512
    tower = 4 * 9 * 256**2 + 5 * 4 * 512
    assert costs["box_head"].parameters == tower + 9 * 256 * 24 + 24
    assert costs["class_head"].parameters == tower + 9 * 256 * 480 + 480
    total = sum(p.size for p in full.trainable_params())
    assert costs["total"].parameters == total


def test_costs_of_the_options(full):
    keys = {"head_norm": "group", "level_scale": True, "p6_from": "c5", "fpn_norm": "none"}
    keys["classes"] = COCO_NAMES
    other = build_ssd(make_config([(keys, "test")]), anchors_per_cell=1)
    costs, base = count_costs(other, (640, 640)), count_costs(full, (640, 640))
    cells = 80**2 + 40**2 + 20**2 + 10**2 + 5**2
    assert cells == 8525  # predictions instead of 51,150
    p6 = 10**2 * 9 * (2048 - 256) * 256
    assert costs["fpn"].multiply_adds == base["fpn"].multiply_adds + p6
    less = cells * 9 * 256 * 5 * (4 + 80)
    assert costs["total"].multiply_adds == base["total"].multiply_adds + p6 - less
    assert costs["total"].multiply_adds < 0.94 * base["total"].multiply_adds
    assert costs["fpn"].parameters == (3584 + 9 * 2048) * 256 + 4 * 9 * 256**2 + 8 * 256
    tower = 4 * 9 * 256**2 + 4 * 512  # group norms are shared
    assert costs["box_head"].parameters == tower + 9 * 256 * 4 + 4 + 5
    assert costs["class_head"].parameters == tower + 9 * 256 * 80 + 80


def test_a_pyramid_without_norms_keeps_the_variance():
    network = make_network(backbone="resnet18", fpn_channels=64, fpn_norm="none")
    initialize(network, 1)
    for cell, inputs in ((network.fpn.laterals[2], 512), (network.fpn.extras[0], 64 * 9)):
        assert cell.conv.weight.asnumpy().std() == pytest.approx(inputs**-0.5, rel=0.03)
        assert (cell.conv.bias.asnumpy() == 0).all()


def test_outputs_follow_the_anchors(small):
    from src.detection.anchors import build_anchors

    generator = build_anchors(small)
    network = build_ssd(small, generator.anchors_per_cell).set_train(False)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    deltas, logits = network(ms.Tensor(images))
    count = len(generator.boxes(small.image_size))
    assert deltas.shape == (2, count, 4)
    assert logits.shape == (2, count, 4)
    assert logits.dtype == deltas.dtype == ms.float32
    # an image's outputs depend on its own pixels alone
    alone = network(ms.Tensor(np.stack([images[1], images[1]])))[1].asnumpy()
    np.testing.assert_allclose(alone[0], logits.asnumpy()[1], atol=1e-5)
