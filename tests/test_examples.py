"""The serving example, in an environment without MindSpore and away from this repository."""

import ast
import importlib.util
import shutil
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

from src.config.configuration import make_config, read_recipe
from src.data.dataset import build_annotations
from src.deploy.exporter import Exporter, run_network
from src.deploy.formats import describe
from src.detection.anchors import build_anchors
from src.prediction.detector import Detector
from tests.conftest import DEMO_RECIPE, REPOSITORY, small_keys
from tests.networks import excite, shared_network

# what `pip install onnxruntime numpy opencv-python-headless` would bring
PACKAGES = ("onnxruntime", "numpy", "numpy.libs", "cv2", "google", "flatbuffers", "packaging")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment that has PACKAGES alone."""
    folder = tmp_path_factory.mktemp("serving") / "venv"
    venv.create(folder, symlinks=True)
    (target,) = folder.glob("lib/python*/site-packages")
    source = Path(importlib.util.find_spec("numpy").origin).parents[1]
    links = [source / name for name in PACKAGES] + list(source.glob("opencv_*.libs"))
    for path in links:
        if path.exists():
            (target / path.name).symlink_to(path)
    return folder / "bin" / "python"


SHORT_SIDE = {"image_size": [64, 96], "short_side": 64, "long_side": 90}


@pytest.mark.parametrize(("resize", "batch"), [("stretch", 0), ("letterbox", 2), ("short_side", 1)])
def test_the_example_finds_what_the_detector_finds(shapes, narrow, tmp_path, python, resize, batch):
    keys = {"resize": resize, "export_batch": batch, "score_threshold": 0.4, "max_detections": 20}
    keys |= SHORT_SIDE if resize == "short_side" else {}
    layers = [
        (read_recipe(str(DEMO_RECIPE)), "demo"),
        (small_keys(shapes, tmp_path), ""),
        (keys, ""),
    ]
    cfg = make_config(layers)
    network = excite(shared_network(cfg, build_anchors(cfg).anchors_per_cell))
    images = np.random.default_rng(0).integers(0, 256, (1, *cfg.image_size, 3), dtype=np.uint8)
    exporter = Exporter(build_anchors(cfg).boxes(cfg.image_size), describe(cfg))
    exporter.export(
        lambda: network, run_network(network, images, ""), tmp_path / "detector.onnx", "ONNX"
    )
    shutil.copy(REPOSITORY / "examples" / "detect_onnx.py", tmp_path)
    paths = [record.path for record in (build_annotations(cfg, training=False)[i] for i in (0, 3))]

    def run(*arguments):
        command = [str(python), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert "No module named 'mindspore'" in run("-c", "import mindspore").stderr
    process = run("detect_onnx.py", "detector.onnx", *paths)
    assert process.returncode == 0, process.stderr
    detector, lines = Detector.load(tmp_path / "detector.onnx"), process.stdout.splitlines()
    for path in paths:
        boxes, scores, names = detector(path)
        own = [line[len(str(path)) + 1 :] for line in lines if line.startswith(f"{path} ")]
        assert len(own) == len(scores) > 0
        for line, box, score, name in zip(own, boxes, scores, names):
            found_name, found_score, found_box = line.split(maxsplit=2)
            assert found_name == name
            assert float(found_score) == pytest.approx(score, abs=1e-3)
            np.testing.assert_allclose(ast.literal_eval(found_box), box, atol=0.11)
