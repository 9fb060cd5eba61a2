"""What several tests share: the device, the drawn data set, small configurations."""

import json
import os
import sys
from pathlib import Path

import pytest

from src.config.configuration import Config, make_config, read_recipe
from src.config.keys import DEFAULT_PATH
from src.data.synthetic import write_dataset
from tests.gpu_stub.build import build as build_stub

REPOSITORY = DEFAULT_PATH.parents[1]
sys.argv[0] = __file__  # what pytest-xdist starts is no file, as MindSpore's cache expects one
LONGEST = (
    "test_distributed.py", "test_trainer.py", "test_ranks.py", "test_train_command.py",
    "test_export.py", "test_resume.py", "test_eval_command.py", "test_gpu.py",
    "test_benchmarks.py", "test_scaling.py",
)  # fmt: skip
DEMO_RECIPE = REPOSITORY / "config" / "ssd_resnet50_fpn_demo.yaml"


def pytest_collection_modifyitems(items):
    """The longest files first, so that two processes end at about the same time."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session", autouse=True)
def device():
    """Graph mode on as many CPU threads as there are cores, once for all tests."""
    from src.runtime.device import set_up_device

    os.environ.setdefault("GLOG_v", "3")
    set_up_device("CPU")


@pytest.fixture(scope="session")
def gpu_stub(tmp_path_factory) -> dict[str, str]:
    """Variables of a process for which a GPU is there that computes nothing."""
    return build_stub(tmp_path_factory.mktemp("stub") / "cuda")


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """The embedded data set, small: 24 training and 10 evaluation images."""
    root = tmp_path_factory.mktemp("shapes")
    write_dataset(root, train=24, val=10, seed=3)
    return root


@pytest.fixture
def small(shapes, tmp_path) -> Config:
    """A configuration that compiles fast: ResNet18, 64 px, narrow, on `shapes`."""
    layers = [(read_recipe(str(DEMO_RECIPE)), "demo"), (small_keys(shapes, tmp_path), "small")]
    return make_config(layers)


# the defaults of what the demo recipe changes: most users have a recipe with these
BASE_DETECTOR = {
    "assigner": "max_iou",
    "class_loss": "focal",
    "box_loss": "smooth_l1",
    "box_coding": "delta",
    "scales_per_octave": 2,
    "aspect_ratios": [1.0, 2.0, 0.5],
    "adam_beta2": 0.95,
    "clip_norm": 10.0,
    "score_threshold": 0.05,
}


def small_keys(shapes: Path, output: Path) -> dict:
    """What `small` changes in the demo recipe."""
    return {
        **BASE_DETECTOR,
        "coco_root": str(shapes),
        "output_path": str(output / "run"),
        "backbone": "resnet18",
        "image_size": [64, 64],
        "anchor_size": 2.0,
        "fpn_channels": 16,
        "head_depth": 1,
        "batch_size": 4,
        "eval_batch_size": 4,
        "epoch_size": 2,
        "warmup_epochs": 0.5,
        "num_workers": 1,
        "log_interval": 1,
        "pictures": 2,
    }


def write_recipe(path: Path, keys: dict) -> Path:
    """The demo recipe with some keys changed, as a file."""
    lines = [
        line for line in DEMO_RECIPE.read_text().splitlines() if line.split(":")[0] not in keys
    ]
    lines += [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
    path.write_text("\n".join(lines) + "\n")
    return path
