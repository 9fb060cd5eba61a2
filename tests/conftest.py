"""What several tests share: the device, the drawn data set, small configurations."""

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from src.config.configuration import Config, make_config, read_recipe
from src.config.keys import DEFAULT_PATH
from src.data.synthetic import write_dataset
from tests.gpu_stub.build import build as build_stub
from tests.narrow.narrow_resnet import NARROWED, narrow_environment, narrow_resnet
from tests.printed_rows import read_rows

REPOSITORY = DEFAULT_PATH.parents[1]
sys.argv[0] = __file__  # what pytest-xdist starts is no file, as MindSpore's cache expects one
LONGEST = (  # of 10 s to 2 min
    "test_distributed.py", "test_exporter.py", "test_gpu.py", "test_resume.py",
    "test_train_command.py", "test_trainer.py",
    "test_resumed_trainer.py", "test_inference_benchmarks.py", "test_doctor.py",
    "test_detectors.py", "test_coco_detector.py", "test_peer_ap.py", "test_detector_step.py",
    "test_overfit.py", "test_predict_command.py", "test_inference.py", "test_two_canvases.py",
    "test_eval_command.py", "test_find_detector.py", "test_fuzz.py", "test_examples.py",
    "test_extending.py", "test_learning.py", "test_benchmarks.py", "test_training_benchmarks.py",
    "test_ladder.py", "test_detector.py", "test_candidates.py",
)  # fmt: skip
PEER = """#!{python}
import json, pathlib, shutil, sys
sys.path.insert(0, {repository!r})
from benchmarks.processes import serve
flags = dict(word[2:].split("=") for word in sys.argv if word.startswith("--") and "=" in word)
if "points" in flags:
    ap = float(flags["lr"]) if int(flags["updates"]) > 2 else 0
    rows = [{{"updates": n, "cpu_seconds": 1000.0 * n, "AP": ap * n, "AP50": 0, "AP75": 0}}
            for n in range(int(flags["interval"]), int(flags["updates"]) + 1)]
    pathlib.Path(flags["points"]).write_text("".join(json.dumps(row) + "\\n" for row in rows))
elif "--prepare" in sys.argv:
    shutil.copy({network!r}, sys.argv[sys.argv.index("peer") + 1] + "/peer.onnx")
else:
    serve(lambda: (lambda: sum(range(10**6)), {{"parameters": 34, "images": 8}}))
"""
DEMO_RECIPE = REPOSITORY / "config" / "ssd_resnet50_fpn_demo.yaml"


def pytest_collection_modifyitems(items):
    """The longest files first, so that two processes end at about the same time."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def made_once(tmp_path_factory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder of this name, which the first process of the session to ask lets `make` fill."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


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


@contextmanager
def narrowed() -> Iterator[None]:
    """ResNets are small ones, here and in processes that are started; see narrow/."""
    from src.models import resnet

    with pytest.MonkeyPatch.context() as patch:  # which restores all
        patch.setattr(resnet, "STAGE_CHANNELS", resnet.STAGE_CHANNELS)
        for name in NARROWED:
            patch.setitem(resnet.VARIANTS, name, resnet.VARIANTS[name])
        narrow_resnet()
        for name, value in narrow_environment().items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def narrow():
    """`narrowed`, for the tests of a file."""
    with narrowed():
        yield


@pytest.fixture(scope="module")
def shared_networks():
    """Networks to be given weights are a single one of each kind, compiled once."""
    from src.prediction import network_model
    from tests.networks import shared_network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_model, "build_ssd", shared_network)
        yield


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


@pytest.fixture
def run_script(capsys):
    """A function that runs a script's main here and gives the rows that it prints."""

    def run(script, *arguments: str) -> dict[str, dict]:
        capsys.readouterr()
        script.main(list(arguments))
        return read_rows(capsys.readouterr().out)

    return run


@pytest.fixture
def peer(tmp_path) -> str:
    """An interpreter that answers as one with torchvision does, whatever it is to run."""
    image = helper.make_tensor_value_info("image0", TensorProto.FLOAT, [3, 64, 64])
    output = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [3, 64, 64])
    node = helper.make_node("Identity", ["image0"], ["boxes"])
    graph = helper.make_graph([node], "peer", [image], [output])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "peer.onnx")
    path = tmp_path / "python"
    network = str(tmp_path / "peer.onnx")
    path.write_text(PEER.format(python=sys.executable, repository=str(REPOSITORY), network=network))
    path.chmod(0o755)
    return str(path)
