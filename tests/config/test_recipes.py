"""Every recipe in config/: what its header states, and that all is built from it."""

import mindspore as ms
import numpy as np
import pytest

from benchmarks.complexity import count_costs
from src.config.command_line import parse_args
from src.detection.anchors import build_anchors
from src.detection.assign import build_assigner
from src.losses.detection_loss import build_loss
from src.models.ssd import build_ssd
from tests.conftest import REPOSITORY, narrowed
from tests.networks import shared_network

pytestmark = pytest.mark.slow

RECIPES = sorted((REPOSITORY / "config").glob("ssd_*.yaml"))
NOT_RUN = [path for path in RECIPES if "demo" not in path.stem]


def load(path, *flags):
    return parse_args("", [f"--config_path={path}", *flags])


@pytest.fixture(scope="module")
def multiply_adds():
    """A function that gives the multiply-adds of a recipe's network for one image."""

    def multiply_adds(name):
        cfg = load(REPOSITORY / "config" / f"{name}.yaml")
        network = build_ssd(cfg, build_anchors(cfg).anchors_per_cell)
        return count_costs(network, cfg.image_size)["total"].multiply_adds

    return multiply_adds


@pytest.mark.parametrize("path", NOT_RUN, ids=lambda path: path.stem)
def test_a_header_says_what_to_expect_and_that_it_was_not_run(path):
    lines = path.read_text().splitlines()
    header = " ".join(line[1:].strip() for line in lines if line.startswith("#"))
    assert "not run" in header.lower()
    assert "AP" in header
    assert f"config/{path.name}" in header  # the command


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_gives_a_network_and_its_loss(path):
    small = ["--image_size=[64,64]", "--fpn_channels=16", "--head_depth=1", "--backbone=resnet18"]
    cfg = load(path, *small, "--classes=[cat, dog]")
    anchors = build_anchors(cfg)
    with narrowed():
        network = shared_network(cfg, anchors.anchors_per_cell)
    boxes = np.array([[4, 4, 40, 44]], np.float32)
    assigned = build_assigner(cfg)(boxes, np.zeros(1, bool))
    images = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    outputs = network.set_train(True)(ms.Tensor(images))
    targets = (np.stack([assigned] * 2).astype(np.int32), np.stack([boxes] * 2))
    labels = np.zeros((2, 1), np.int32)
    total, *terms, positives = build_loss(cfg)(*outputs, *map(ms.Tensor, (*targets, labels)))
    assert float(positives) == 2 * (assigned >= 0).sum() > 0
    assert 0 < float(total) < 100
    assert float(total) == pytest.approx(sum(map(float, terms)), rel=1e-5)


def test_one_anchor_a_cell_costs_less_than_six(multiply_adds):
    base = multiply_adds("ssd_resnet50_fpn_config_gpu")
    assert base == pytest.approx(90.0e9, rel=1e-3)
    gfl = multiply_adds("ssd_resnet50_fpn_gfl")
    assert gfl == pytest.approx(83.0e9, rel=1e-3)  # as its header says
    assert gfl < base < multiply_adds("ssd_resnet50_fpn_v2") < 1.005 * base


def test_the_short_recipe_is_the_long_one_with_fewer_epochs_and_a_mirror_alone():
    long, short = (
        load(REPOSITORY / f"config/ssd_resnet50_fpn_{n}.yaml") for n in ("gfl", "gfl_1x")
    )
    different = {key for key in long if long[key] != short[key]}
    assert different == {"augmentation", "epoch_size", "warmup_epochs", "ema_decay"}
